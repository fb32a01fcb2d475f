/*
 * container-agent: the one process of the guest besides the container's.
 *
 *   As PID 1 (/init of the initramfs): boots, then serves the virtio-serial port.
 *   As the kernel's modprobe (modules.h), of which it is a short-lived child.
 *   As an ordinary process (contract tests): container-agent --fd N --state DIR [--plain]
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"
#include "boot.h"
#include "dispatch.h"
#include "log.h"
#include "loop.h"
#include "modules.h"
#include "mux.h"
#include "process.h"
#include "relay.h"
#include "system.h"
#include "transfer.h"

struct agent agent = {.state = "/c"};

static void channel_closed(const char *why) {
    if (why)
        log_line("the channel to the host is broken: %s", why);
    loop_quit(why ? EXIT_FAILURE : EXIT_SUCCESS);
}

static void stream_reset(uint32_t stream, uint32_t number) {
    transfer_unwanted(stream);
    relay_reset(stream, number);
}

static const struct mux_handlers handlers = {
    .hello = dispatch_hello,
    .request = dispatch_request,
    .data = relay_data,
    .eof = relay_eof,
    .window = relay_window,
    .reset = stream_reset,
    .writable = relay_writable,
    .closed = channel_closed,
};

static int usage(void) {
    fprintf(stderr, "usage: container-agent --fd N --state DIR [--plain]\n");
    return -EINVAL;
}

static int as_process(int argc, char **argv) {
    static const struct option options[] = {
        {"fd", required_argument, NULL, 'f'},
        {"state", required_argument, NULL, 's'},
        {"plain", no_argument, NULL, 'p'},
        {0},
    };
    int choice, fd = -1;
    while ((choice = getopt_long(argc, argv, "", options, NULL)) >= 0)
        switch (choice) {
        case 'f':
            fd = atoi(optarg);
            break;
        case 's':
            agent.state = optarg;
            break;
        case 'p':
            agent.plain = true;
            break;
        default:
            return usage();
        }
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0)
        return usage();
    fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    /* our mounts are ours alone, and end with us */
    if (!agent.plain && (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)) {
        log_line("failed to make a mount namespace: %s", strerror(errno));
        return -errno;
    }
    return fd;
}

int main(int argc, char **argv) {
    struct timespec now;
    if (strcmp(argv[0], MODULES_PROGRAM) == 0) /* the kernel's call: /modprobe -q -- ALIAS */
        return modules_probe(argv[argc - 1]);
    clock_gettime(CLOCK_BOOTTIME, &now);
    agent.started_ms = now.tv_sec * 1000 + now.tv_nsec / 1000000;
    agent.pid1 = getpid() == 1;
    umask(0);
    int channel = agent.pid1 ? boot() : as_process(argc, argv);
    if (channel < 0 && !agent.pid1)
        return EXIT_FAILURE;
    mkdir(agent.state, 0755);
    if (channel < 0 || loop_init() < 0 || process_init() < 0 || mux_open(channel, &handlers) < 0) {
        log_line("failed to start");
        system_shutdown(EXIT_FAILURE);
    }
    system_shutdown(loop_run());
}
