#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent.h"
#include "args.h"
#include "caps.h"
#include "cgroup.h"
#include "dispatch.h"
#include "exec.h"
#include "log.h"
#include "loop.h"
#include "relay.h"
#include "rootfs.h"
#include "tty.h"

enum { PIPE_SIZE = 1048576, PROCESSES_MAX = 1024, ID_MAX = 128 };

struct process {
    struct process *next;
    char id[ID_MAX];
    pid_t pid;
    int pidfd;
    bool init, failed, exited;
    int code;
    uint32_t request;    /* the start that waits for its answer, 0 = answered */
    struct watch status; /* reports of the child, until it runs its program */
    bool terminal;
    int master;         /* its terminal, -1 */
    uint32_t stream[3]; /* 0 = none */
};

static struct process *processes;
static int process_count;
static struct watch children = {.fd = -1};

/* The container that runs: what an exec joins and inherits. */
static struct {
    const struct process *init; /* NULL = none runs */
    uint64_t capabilities;
    bool no_new_privileges;
    int cgroup;
} container = {.cgroup = -1};

static struct process *find(const char *id) {
    for (struct process *process = processes; process; process = process->next)
        if (strcmp(process->id, id) == 0)
            return process;
    return NULL;
}

static void destroy(struct process *process) {
    for (struct process **link = &processes; *link; link = &(*link)->next)
        if (*link == process) {
            *link = process->next;
            break;
        }
    if (container.init == process)
        container.init = NULL;
    loop_close(&process->status);
    if (process->master >= 0)
        close(process->master);
    if (process->pidfd >= 0)
        close(process->pidfd);
    free(process);
    process_count--;
}

/* ---- the end ---- */

static void finish(struct process *process) {
    json_t *event = json_pack("{s:s, s:s, s:i}", "event", "exit", "process", process->id, "code", process->code);
    if (event && process->init && cgroup_oom_killed())
        json_object_set_new(event, "oomKilled", json_true());
    for (int i = 0; i < 3; i++)
        if (process->stream[i])
            relay_finish(process->stream[i]);
    dispatch_event(event);
    destroy(process);
}

static void reaped(struct process *process, int status) {
    process->exited = true;
    process->code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    if (container.init == process)
        container.init = NULL;
    if (process->failed)
        destroy(process);
    else if (process->status.fd < 0)
        finish(process); /* else once the start is answered */
}

static void children_ready(struct watch *watch, uint32_t events) {
    struct signalfd_siginfo info;
    int status;
    pid_t pid;
    (void)events;
    while (read(watch->fd, &info, sizeof info) > 0)
        continue;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        for (struct process *process = processes; process; process = process->next)
            if (process->pid == pid) {
                reaped(process, status);
                break;
            }
}

int process_init(void) {
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, NULL);
    signal(SIGPIPE, SIG_IGN);
    children.ready = children_ready;
    children.fd = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
    return children.fd < 0 ? -errno : loop_watch(&children, EPOLLIN);
}

void process_kill_all(int ms) {
    uint64_t end = loop_now() + (uint64_t)ms;
    cgroup_kill();
    for (struct process *process = processes; process; process = process->next)
        syscall(SYS_pidfd_send_signal, process->pidfd, SIGKILL, NULL, 0);
    while (processes && loop_now() < end) {
        struct timespec wait = {.tv_nsec = 100000000};
        sigset_t child;
        sigemptyset(&child);
        sigaddset(&child, SIGCHLD);
        struct process *process = processes;
        if (waitpid(process->pid, NULL, WNOHANG) != 0)
            destroy(process);
        else
            sigtimedwait(&child, NULL, &wait);
    }
}

void process_void_requests(void) {
    for (struct process *process = processes; process; process = process->next) {
        process->request = 0;
        memset(process->stream, 0, sizeof process->stream);
    }
}

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
        destroy(process);
}

static void start_done(struct process *process) {
    loop_close(&process->status);
    if (process->request)
        dispatch_reply(process->request, json_pack("{s:i}", "pid", (int)process->pid));
    process->request = 0;
    if (process->exited)
        finish(process);
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
    if (find(id))
        return err_code(e, "exists", EEXIST, "process %s exists already", id);
    if (process_count >= PROCESSES_MAX)
        return err_code(e, "invalidState", EAGAIN, "too many processes (%d)", process_count);
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

static int prepare(struct process *process, const json_t *args, struct launch *launch, struct err *e) {
    const json_t *spec = json_object_get(args, "container");
    const json_t *capabilities = json_object_get(args, "capabilities");
    process->init = json_is_object(spec);
    if (process->init && container.init)
        return err_code(e, "invalidState", EALREADY, "the container runs already");
    if (!process->init && !container.init)
        return err_code(e, "invalidState", ESRCH, "the container is not running");
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
    if (container.cgroup >= 0) {
        how.flags |= CLONE_INTO_CGROUP;
        how.cgroup = (unsigned)container.cgroup;
    }
    if (join && own < 0)
        own = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
    if (join && setns(launch->container_pidfd, CLONE_NEWPID) < 0)
        return -errno;
    pid_t pid = (pid_t)syscall(SYS_clone3, &how, sizeof how);
    int number = errno;
    if (pid != 0 && join && setns(own, CLONE_NEWPID) < 0)
        log_line("cannot return to the own pid namespace: %s", strerror(errno));
    return pid < 0 ? -number : pid;
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
    process->next = processes;
    processes = process;
    process_count++;
    attach(process, &ends);
    ends_close(&ends);
    return DEFERRED;
}

/* ---- what runs ---- */

static struct process *find_running(const json_t *args, struct err *e) {
    const char *id = args_string(args, "id", "");
    struct process *process = find(id);
    if (!process || process->exited || process->failed) {
        err_code(e, "notFound", ESRCH, "process %.128s is not running", id);
        return NULL;
    }
    return process;
}

int op_signal(uint32_t number, const json_t *args, json_t **result, struct err *e) {
    struct process *process = find_running(args, e);
    int signal_number = (int)args_integer(args, "signal", 0);
    (void)number, (void)result;
    if (!process)
        return -ESRCH;
    if (signal_number < 1 || signal_number > SIGRTMAX)
        return err_set(e, EINVAL, "there is no signal %d", signal_number);
    if (syscall(SYS_pidfd_send_signal, process->pidfd, signal_number, NULL, 0) < 0)
        return err_set(e, errno, "failed to signal process %s", process->id);
    return 0;
}

int op_resize(uint32_t number, const json_t *args, json_t **result, struct err *e) {
    struct process *process = find_running(args, e);
    (void)number, (void)result;
    if (!process)
        return -ESRCH;
    if (process->master < 0)
        return err_code(e, "invalidState", ENOTTY, "process %s has no terminal", process->id);
    return tty_resize(process->master, json_object_get(args, "size"), e);
}
