#include "system.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/reboot.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"
#include "args.h"
#include "dispatch.h"
#include "log.h"
#include "mux.h"
#include "process.h"
#include "rootfs.h"
#include "transfer.h"
#include "volume.h"

enum { KILL_WAIT_MS = 3000, FLUSH_MS = 1000, SEED_MAX = 512 };

/* `a.b.c` or `a/b/c`; a dot inside a component is written as a slash (sysctl(8)). */
static int sysctl_path(const char *key, char *path, size_t size) {
    const char *first = strpbrk(key, "./");
    bool dotted = !first || *first == '.';
    int used = snprintf(path, size, "/proc/sys/%s", key);
    if (used < 0 || (size_t)used >= size || strstr(key, "..") || *key == '/')
        return -EINVAL;
    for (char *at = path + strlen("/proc/sys/"); dotted && *at; at++)
        if (*at == '.')
            *at = '/';
        else if (*at == '/')
            *at = '.';
    return 0;
}

int sysctl_apply(const json_t *sysctls, struct err *e) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)sysctls, key, value) {
        char path[256];
        const char *text = json_string_value(value);
        int status = text ? sysctl_path(key, path, sizeof path) : -EINVAL;
        int fd = status < 0 ? -1 : open(path, O_WRONLY | O_CLOEXEC);
        if (status == 0)
            status = fd < 0 || write(fd, text, strlen(text)) < 0 ? -errno : 0;
        if (fd >= 0)
            close(fd);
        if (status < 0)
            return err_set(e, -status, "failed to set sysctl %s to %s", key, text ? text : "?");
    }
    return 0;
}

int op_sysctl(uint32_t number, const json_t *args, json_t **result, struct err *e) {
    (void)number, (void)result;
    return sysctl_apply(json_object_get(args, "sysctls"), e);
}

int op_time(uint32_t number, const json_t *args, json_t **result, struct err *e) {
    struct timespec now = {.tv_sec = args_integer(args, "seconds", 0), .tv_nsec = args_integer(args, "nanoseconds", 0)};
    (void)number, (void)result;
    if (now.tv_sec <= 0)
        return err_set(e, EINVAL, "failed to set the clock");
    return clock_settime(CLOCK_REALTIME, &now) < 0 ? err_set(e, errno, "failed to set the clock") : 0;
}

static int digit(char text) {
    return isdigit((unsigned char)text) ? text - '0' : tolower((unsigned char)text) - 'a' + 10;
}

int system_seed(const char *hex) {
    union {
        struct rand_pool_info info;
        char space[sizeof(struct rand_pool_info) + SEED_MAX];
    } pool = {0};
    size_t length = strlen(hex) / 2;
    if (length == 0 || length > SEED_MAX || strspn(hex, "0123456789abcdefABCDEF") != length * 2)
        return -EINVAL;
    for (size_t i = 0; i < length; i++)
        ((unsigned char *)pool.info.buf)[i] = (unsigned char)(digit(hex[2 * i]) << 4 | digit(hex[2 * i + 1]));
    pool.info.entropy_count = (int)length * 8;
    pool.info.buf_size = (int)length;
    int fd = open("/dev/urandom", O_WRONLY | O_CLOEXEC);
    int status = fd < 0 || ioctl(fd, RNDADDENTROPY, &pool.info) < 0 ? -errno : 0;
    if (status == 0)
        ioctl(fd, RNDRESEEDCRNG); /* at once, not within the next minutes; old kernels lack it */
    if (fd >= 0)
        close(fd);
    return status;
}

static void let_go_of_disks(void) {
    process_kill_all(0); /* a transfer that freezes waits for their writes */
    transfer_reset_all();
    process_kill_all(KILL_WAIT_MS);
    volume_unmount_all();
    rootfs_unmount();
}

noreturn void system_shutdown(int code) {
    let_go_of_disks();
    mux_flush(FLUSH_MS);
    if (!agent.pid1)
        _exit(code);
    sync();
    reboot(RB_POWER_OFF);
    log_line("the machine does not power off: %s", strerror(errno));
    for (;;)
        pause();
}

int op_shutdown(uint32_t number, const json_t *args, json_t **result, struct err *e) {
    (void)args, (void)result, (void)e;
    let_go_of_disks();
    dispatch_reply(number, NULL);
    mux_flush(FLUSH_MS);
    system_shutdown(0);
}
