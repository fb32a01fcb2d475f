#define _GNU_SOURCE
#include "pretend.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "replay.h"

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

enum { TIMES = 2 }; /* which argument of utimensat(2) */

#define LOAD(member) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offsetof(struct seccomp_data, member))
#define IS(value, then, otherwise) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), (then), (otherwise))
#define ANSWER(value) BPF_STMT(BPF_RET | BPF_K, (value))

int pretend_install(void) {
    struct sock_filter filter[] = {
        LOAD(arch),
        IS(ARCHITECTURE, 0, 3),
        LOAD(nr),
        IS(SYS_utimensat, 0, 1),
        ANSWER(SECCOMP_RET_USER_NOTIF),
        ANSWER(SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof filter / sizeof filter[0], .filter = filter};
    long listener = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
    return listener < 0 ? -errno : (int)listener;
}

/* What cannot be read must not be done: it might be a pretence. 1: it is one, 0: it is not, or -errno. */
static int is_pretence(pid_t pid, uint64_t address) {
    struct timespec times[2] = {{0}};
    struct iovec here = {times, sizeof times}, there = {(void *)(uintptr_t)address, sizeof times};
    if (!address)
        return 0;
    ssize_t got = process_vm_readv(pid, &here, 1, &there, 1, 0);
    if (got != (ssize_t)sizeof times)
        return got < 0 ? -errno : -EFAULT;
    return times[1].tv_sec == PRETEND_SECONDS && times[1].tv_nsec == PRETEND_NANOSECONDS;
}

int pretend_answer(int listener) {
    struct seccomp_notif call = {0};
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call) < 0)
        return errno == EINTR || errno == ENOENT ? 0 : -errno;
    int found = is_pretence((pid_t)call.pid, call.data.args[TIMES]);
    struct seccomp_notif_resp answer = {
        .id = call.id,
        .error = found < 0 ? found : 0,
        .flags = found == 0 ? SECCOMP_USER_NOTIF_FLAG_CONTINUE : 0,
    };
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer) < 0 && errno != ENOENT)
        return -errno;
    return 0;
}
