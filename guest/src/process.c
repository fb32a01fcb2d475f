#include "process.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent.h"
#include "args.h"
#include "cgroup.h"
#include "dispatch.h"
#include "processes.h"
#include "relay.h"
#include "tty.h"

static struct process *processes;
static int count;
static struct watch children = {.fd = -1};

struct container container = {.cgroup = -1};

struct process *process_find(const char *id) {
    for (struct process *process = processes; process; process = process->next)
        if (strcmp(process->id, id) == 0)
            return process;
    return NULL;
}

int process_count(void) {
    return count;
}

void process_add(struct process *process) {
    process->next = processes;
    processes = process;
    count++;
}

void process_destroy(struct process *process) {
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
    count--;
}

/* ---- the end ---- */

void process_finish(struct process *process) {
    json_t *event = json_pack("{s:s, s:s, s:i}", "event", "exit", "process", process->id, "code", process->code);
    if (event && process->init && cgroup_oom_killed())
        json_object_set_new(event, "oomKilled", json_true());
    for (int i = 0; i < 3; i++)
        if (process->stream[i])
            relay_finish(process->stream[i]);
    dispatch_event(event);
    process_destroy(process);
}

static void reaped(struct process *process, int status) {
    process->exited = true;
    process->code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    if (process->ended_as && process->code == 128 + SIGKILL)
        process->code = 128 + process->ended_as;
    if (container.init == process)
        container.init = NULL;
    if (process->failed)
        process_destroy(process);
    else if (process->status.fd < 0)
        process_finish(process); /* else once the start is answered */
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
    for (struct process *process = processes; process; process = process->next) {
        syscall(SYS_pidfd_send_signal, process->pidfd, SIGKILL, NULL, 0);
        if (agent.plain) /* no pid namespace ends its children: its session's group does */
            kill(-process->pid, SIGKILL);
    }
    while (processes && loop_now() < end) {
        struct timespec wait = {.tv_nsec = 100000000};
        sigset_t child;
        sigemptyset(&child);
        sigaddset(&child, SIGCHLD);
        struct process *process = processes;
        if (waitpid(process->pid, NULL, WNOHANG) != 0)
            process_destroy(process);
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

/* ---- what runs ---- */

static struct process *find_running(const json_t *args, struct err *e) {
    const char *id = args_string(args, "id", "");
    struct process *process = process_find(id);
    if (!process || process->exited || process->failed) {
        err_code(e, "notFound", ESRCH, "process %.128s is not running", id);
        return NULL;
    }
    return process;
}

/* Whether a process leaves a signal's default action to the kernel (proc(5)). */
static bool is_default(pid_t pid, int signal_number) {
    char path[64], line[256];
    unsigned long long mask, handled = 0;
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    FILE *status = fopen(path, "re");
    if (!status)
        return false;
    while (fgets(line, sizeof line, status))
        if (sscanf(line, "SigBlk: %llx", &mask) == 1 || sscanf(line, "SigIgn: %llx", &mask) == 1 ||
            sscanf(line, "SigCgt: %llx", &mask) == 1)
            handled |= mask;
    fclose(status);
    return !(handled >> (signal_number - 1) & 1);
}

int op_signal(uint32_t number, const json_t *args, json_t **result, struct err *e) {
    struct process *process = find_running(args, e);
    int signal_number = (int)args_integer(args, "signal", 0);
    (void)number, (void)result;
    if (!process)
        return -ESRCH;
    if (signal_number < 1 || signal_number > SIGRTMAX)
        return err_set(e, EINVAL, "there is no signal %d", signal_number);
    /* The first process of a pid namespace is spared the default action of any signal but KILL. */
    if (args_true(args, "defaultAction") && process->init && is_default(process->pid, signal_number)) {
        process->ended_as = signal_number;
        signal_number = SIGKILL;
    }
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
