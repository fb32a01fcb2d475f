/* Starting a process: from the request to the child's last report, which answers it. */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent.h"
#include "args.h"
#include "caps.h"
#include "cgroup.h"
#include "dispatch.h"
#include "exec.h"
#include "log.h"
#include "modules.h"
#include "processes.h"
#include "relay.h"
#include "rootfs.h"

enum { PIPE_SIZE = 1048576 };

/* ---- reports of a child that is on its way ---- */

static int open_terminal(struct process *process, int master, struct err *e) {
    process->master = master;
    for (int i = 0; i < 2; i++) {
        int copy = process->stream[i] ? fcntl(master, F_DUPFD_CLOEXEC, 3) : -1;
        if (!process->stream[i])
            continue;
        if (copy < 0)
            return err_set(e, errno, "failed to open the terminal's streams");
        int status = relay_open(process->stream[i], i ? -1 : copy, i ? copy : -1, true, e);
        if (status < 0)
            return status;
    }
    return 0;
}

static void start_failed(struct process *process, const struct err *e) {
    process->failed = true;
    process->id[0] = 0; /* both are free again at once, not when it is reaped */
    if (container.init == process)
        container.init = NULL;
    if (process->request)
        dispatch_fail(process->request, e);
    process->request = 0;
    for (int i = 0; i < 3; i++)
        if (process->stream[i])
            relay_reset(process->stream[i], 0);
    loop_close(&process->status);
    if (process->exited)
        process_destroy(process);
}

static void start_done(struct process *process) {
    loop_close(&process->status);
    if (process->request)
        dispatch_reply(process->request, json_pack("{s:i}", "pid", (int)process->pid));
    process->request = 0;
    if (process->init && agent.pid1)
        modules_late();
    if (process->exited)
        process_finish(process);
}

static int received_fd(struct msghdr *message) {
    int fd = -1;
    struct cmsghdr *head = CMSG_FIRSTHDR(message);
    if (head && head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_RIGHTS)
        memcpy(&fd, CMSG_DATA(head), sizeof fd);
    return fd;
}

static void status_ready(struct watch *watch, uint32_t events) {
    struct process *process = container_of(watch, struct process, status);
    struct exec_report report;
    union {
        struct cmsghdr head;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec data = {.iov_base = &report, .iov_len = sizeof report};
    struct msghdr message = {
        .msg_iov = &data, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof control};
    (void)events;
    ssize_t got = recvmsg(watch->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got != sizeof report) {
        start_done(process);
        return;
    }
    int master = received_fd(&message);
    if (report.kind == REPORT_TERMINAL && master >= 0 && open_terminal(process, master, &report.error) == 0)
        return;
    if (report.kind == REPORT_TERMINAL)
        syscall(SYS_pidfd_send_signal, process->pidfd, SIGKILL, NULL, 0);
    start_failed(process, &report.error);
}

/* ---- the start ---- */

/* Both ends of what a start needs; -1 = none. Closed by the caller in every case. */
struct ends {
    int child[3], ours[3];
    int status_child, status_ours;
};

static void close_fd(int *fd) {
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void ends_close(struct ends *ends) {
    for (int i = 0; i < 3; i++) {
        close_fd(&ends->child[i]);
        close_fd(&ends->ours[i]);
    }
    close_fd(&ends->status_child);
    close_fd(&ends->status_ours);
}

static int ends_open(struct process *process, struct ends *ends, struct err *e) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return err_set(e, errno, "failed to start a process");
    ends->status_ours = pair[0];
    ends->status_child = pair[1];
    for (int i = 0; i < 3 && !process->terminal; i++) {
        if (!process->stream[i])
            continue;
        if (pipe2(pair, O_CLOEXEC) < 0)
            return err_set(e, errno, "failed to make a pipe");
        fcntl(pair[0], F_SETPIPE_SZ, PIPE_SIZE); /* fewer wakeups; refused past the user's limit, no harm */
        ends->child[i] = pair[i == 0 ? 0 : 1];
        ends->ours[i] = pair[i == 0 ? 1 : 0];
    }
    return 0;
}

static int read_request(struct process *process, const json_t *args, struct err *e) {
    static const char *const names[] = {"stdin", "stdout", "stderr"};
    const char *id = args_string(args, "id", "");
    const json_t *streams = json_object_get(args, "streams"), *spec = json_object_get(args, "process");
    if (!*id || strlen(id) >= ID_MAX || !json_is_object(spec))
        return err_code(e, "invalidArgument", EINVAL, "malformed request: no process");
    if (process_find(id))
        return err_code(e, "exists", EEXIST, "process %s exists already", id);
    if (process_count() >= PROCESSES_MAX)
        return err_code(e, "invalidState", EAGAIN, "too many processes (%d)", process_count());
    strcpy(process->id, id);
    process->terminal = args_true(spec, "terminal");
    for (int i = 0; i < 3; i++) {
        long long number = args_integer(streams, names[i], 0);
        if (number == 0)
            continue;
        bool twice = (i > 0 && number == process->stream[0]) || (i > 1 && number == process->stream[1]);
        if (number < 0 || number > UINT32_MAX || twice || !relay_free((uint32_t)number))
            return err_set(e, EINVAL, "stream %lld cannot be opened", number);
        process->stream[i] = (uint32_t)number;
    }
    if (process->terminal)
        process->stream[2] = 0;
    return 0;
}

static int not_running(struct err *e) {
    return err_code(e, "invalidState", ESRCH, "the container is not running");
}

static int prepare(struct process *process, const json_t *args, struct launch *launch, struct err *e) {
    const json_t *spec = json_object_get(args, "container");
    const json_t *capabilities = json_object_get(args, "capabilities");
    process->init = json_is_object(spec);
    if (process->init && container.init)
        return err_code(e, "invalidState", EALREADY, "the container runs already");
    if (!process->init && !container.init)
        return not_running(e);
    *launch = (struct launch){.process = json_object_get(args, "process"),
                              .size = json_object_get(args, "size"),
                              .container = process->init ? spec : NULL,
                              .terminal = process->terminal};
    if (!process->init) {
        launch->container_pidfd = container.init->pidfd;
        launch->no_new_privileges = container.no_new_privileges;
        launch->capabilities = container.capabilities;
        return json_is_array(capabilities) ? caps_parse(capabilities, &launch->capabilities, e) : 0;
    }
    launch->no_new_privileges = args_true(spec, "noNewPrivileges");
    int status = caps_parse(json_object_get(spec, "capabilities"), &launch->capabilities, e);
    if (status < 0 || agent.plain)
        return status;
    status = rootfs_fd(e);
    if (status < 0)
        return status;
    if (agent.pid1)
        modules_on_demand();
    close_fd(&container.cgroup);
    int cgroup = cgroup_create(spec, e);
    container.cgroup = cgroup >= 0 ? cgroup : -1;
    return cgroup < -1 ? cgroup : 0;
}

/* clone3(2) as fork: a new pid namespace for the init process, the container's for an exec. */
static pid_t spawn(const struct process *process, const struct launch *launch, int *pidfd) {
    static int own = -1;
    bool join = !process->init && !agent.plain;
    struct clone_args how = {.flags = CLONE_PIDFD, .pidfd = (uintptr_t)pidfd, .exit_signal = SIGCHLD};
    if (process->init && !agent.plain)
        how.flags |= CLONE_NEWPID;
    if (join && own < 0)
        own = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
    if (join && setns(launch->container_pidfd, CLONE_NEWPID) < 0)
        return -errno;
    pid_t pid = cgroup_clone(&how, container.cgroup, container.init ? container.init->pid : 0);
    if (pid != 0 && join && setns(own, CLONE_NEWPID) < 0)
        log_line("cannot return to the own pid namespace: %s", strerror(errno));
    return pid;
}

static int start(struct process *process, const json_t *args, struct ends *ends, struct err *e) {
    struct launch launch;
    int status = read_request(process, args, e);
    if (status == 0)
        status = prepare(process, args, &launch, e);
    if (status == 0)
        status = ends_open(process, ends, e);
    if (status < 0)
        return status;
    memcpy(launch.stdio, ends->child, sizeof launch.stdio);
    launch.status = ends->status_child;
    process->pid = spawn(process, &launch, &process->pidfd);
    if (process->pid == 0)
        exec_child(&launch);
    if (process->pid == -ESRCH) /* the init process has ended, and its event is on the way */
        return not_running(e);
    if (process->pid < 0)
        return err_set(e, -process->pid, "failed to fork");
    if (process->init) {
        container.init = process;
        container.capabilities = launch.capabilities;
        container.no_new_privileges = launch.no_new_privileges;
    }
    return 0;
}

/* The process exists: a failure from here on is told by killing it. */
static void attach(struct process *process, struct ends *ends) {
    struct err e = {0};
    process->status = (struct watch){.fd = ends->status_ours, .ready = status_ready};
    ends->status_ours = -1;
    loop_watch(&process->status, EPOLLIN);
    for (int i = 0; i < 3 && !process->terminal; i++) {
        int ours = ends->ours[i];
        ends->ours[i] = -1;
        if (ours >= 0 && relay_open(process->stream[i], i ? -1 : ours, i ? ours : -1, false, &e) < 0) {
            log_line("%s", e.text);
            syscall(SYS_pidfd_send_signal, process->pidfd, SIGKILL, NULL, 0);
        }
    }
}

int op_start(uint32_t number, const json_t *args, json_t **result, struct err *e) {
    struct ends ends = {{-1, -1, -1}, {-1, -1, -1}, -1, -1};
    struct process *process = calloc(1, sizeof *process);
    (void)result;
    if (!process)
        return err_set(e, ENOMEM, "failed to start a process");
    process->pidfd = process->master = process->status.fd = -1;
    process->request = number;
    int status = start(process, args, &ends, e);
    if (status < 0) {
        ends_close(&ends);
        free(process);
        return status;
    }
    process_add(process);
    attach(process, &ends);
    ends_close(&ends);
    return DEFERRED;
}
