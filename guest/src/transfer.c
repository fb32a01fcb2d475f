#include "transfer.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <stdnoreturn.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent.h"
#include "args.h"
#include "cgroup.h"
#include "dispatch.h"
#include "processes.h"
#include "relay.h"
#include "rootfs.h"
#include "transfer_child.h"
#include "upper.h"

enum { TRANSFERS_MAX = 64, PIPE_SIZE = 1048576, FILES_MAX = 8192, KILL_WAIT_MS = 2000 };

struct transfer {
    struct transfer *next;
    struct watch status; /* report of the child */
    int pidfd;
    uint32_t request, stream;
    bool output, freezes;
};

static struct transfer *transfers;
static int count;

/* The last of those that freeze thaws, once its child is over: until then that may still be freezing. */
static void thaw(void) {
    for (struct transfer *transfer = transfers; transfer; transfer = transfer->next)
        if (transfer->freezes)
            return;
    upper_thaw();
}

static void finish(struct transfer *transfer) {
    for (struct transfer **link = &transfers; *link; link = &(*link)->next)
        if (*link == transfer) {
            *link = transfer->next;
            break;
        }
    if (transfer->freezes)
        thaw();
    loop_close(&transfer->status);
    close(transfer->pidfd);
    free(transfer);
    count--;
}

static void status_ready(struct watch *watch, uint32_t events) {
    struct transfer *transfer = container_of(watch, struct transfer, status);
    struct err report;
    (void)events;
    ssize_t got = read(watch->fd, &report, sizeof report);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got != sizeof report)
        err_code(&report, "interrupted", EINTR, "the copy was interrupted");
    if (report.number)
        dispatch_fail(transfer->request, &report);
    else
        dispatch_reply(transfer->request, NULL);
    finish(transfer);
}

static void end(const struct transfer *transfer) {
    syscall(SYS_pidfd_send_signal, transfer->pidfd, SIGKILL, NULL, 0);
}

void transfer_unwanted(uint32_t stream) {
    for (struct transfer *transfer = transfers; transfer; transfer = transfer->next)
        if (transfer->stream == stream && transfer->output)
            end(transfer);
}

void transfer_reset_all(void) {
    while (transfers) {
        end(transfers);
        struct pollfd ended = {.fd = transfers->pidfd, .events = POLLIN};
        poll(&ended, 1, KILL_WAIT_MS);
        finish(transfers);
    }
}

/* In the child: only what it needs stays open, at its own number, and its limits and mount namespace are set. */
static noreturn void become_child(struct job *job, int data, int status) {
    struct rlimit files = {FILES_MAX, FILES_MAX};
    struct err e = {0};
    /* twice, so that none lands on another that is still needed */
    int from[3] = {data, status, container.init ? container.init->pidfd : -1};
    for (int i = 0; i < 3; i++)
        from[i] = from[i] < 0 ? -1 : fcntl(from[i], F_DUPFD_CLOEXEC, 64);
    for (int i = 0; i < 3; i++)
        if (from[i] < 0 || dup2(from[i], CHILD_DATA + i) < 0)
            close(CHILD_DATA + i);
    close_range(CHILD_DATA + 3, ~0U, 0); /* other streams must end when their own users end */
    setrlimit(RLIMIT_NOFILE, &files);
    transfer_child(job, &e);
    _exit(write(CHILD_STATUS, &e, sizeof e) < 0);
}

/* Data goes to the child by `pipes[0]`, or comes from it; its report by `report`. */
static int spawn(struct job *job, int data, int report, int *pidfd) {
    struct clone_args how = {.flags = CLONE_PIDFD, .pidfd = (uintptr_t)pidfd, .exit_signal = SIGCHLD};
    /* memory that it takes, on a tmpfs say, is the container's */
    int cgroup = job->in_container ? container.cgroup : -1;
    pid_t pid = cgroup_clone(&how, cgroup, container.init ? container.init->pid : 0);
    if (pid == 0)
        become_child(job, data, report);
    return pid < 0 ? pid : 0;
}

static int start(struct transfer *transfer, struct job *job, uint32_t stream, struct err *e) {
    int data[2] = {-1, -1}, report[2] = {-1, -1};
    int status = pipe2(data, O_CLOEXEC) < 0 || pipe2(report, O_CLOEXEC) < 0 ? -errno : 0;
    if (status == 0) {
        fcntl(data[0], F_SETPIPE_SZ, PIPE_SIZE);
        status = spawn(job, data[job->input ? 0 : 1], report[1], &transfer->pidfd);
    }
    if (report[1] >= 0)
        close(report[1]);
    if (data[0] >= 0)
        close(data[job->input ? 0 : 1]);
    int ours = data[job->input ? 1 : 0];
    if (status == 0) {
        transfer->status = (struct watch){.fd = report[0], .ready = status_ready};
        return relay_open(stream, job->input ? ours : -1, job->input ? -1 : ours, false, e);
    }
    if (ours >= 0)
        close(ours);
    if (report[0] >= 0)
        close(report[0]);
    return err_set(e, -status, "failed to copy");
}

static int check(const struct job *job, long long stream, struct err *e) {
    if (stream <= 0 || stream > UINT32_MAX || !relay_free((uint32_t)stream))
        return err_set(e, EINVAL, "stream %lld cannot be opened", stream);
    if (count >= TRANSFERS_MAX)
        return err_code(e, "invalidState", EAGAIN, "too many copies at once (%d)", count);
    if (!job->in_container)
        return rootfs_fd(e) < 0 ? -ENOENT : 0;
    if (job->path[0] != '/')
        return err_set(e, EINVAL, "invalid path %s", job->path);
    if (!agent.plain && !container.init)
        return err_code(e, "invalidState", ESRCH, "the container is not running");
    return 0;
}

static int transfer(uint32_t number, const json_t *args, struct job job, struct err *e) {
    long long stream = args_integer(args, "stream", 0);
    job.path = args_string(args, "path", "");
    int status = check(&job, stream, e);
    struct transfer *new = status < 0 ? NULL : calloc(1, sizeof *new);
    if (!new)
        return status < 0 ? status : err_set(e, ENOMEM, "failed to copy");
    *new = (struct transfer){.request = number,
                             .stream = (uint32_t)stream,
                             .output = !job.input,
                             .freezes = job.freezes = args_true(args, "freeze")};
    status = start(new, &job, (uint32_t)stream, e);
    if (status < 0) {
        free(new);
        return status;
    }
    new->next = transfers;
    transfers = new;
    count++;
    loop_watch(&new->status, EPOLLIN);
    return DEFERRED;
}

int op_copy_in(uint32_t number, const json_t *args, json_t **result, struct err *e) {
    struct job job = {.run = job_copy_in, .in_container = true, .input = true, .whole = args_true(args, "into")};
    (void)result;
    return transfer(number, args, job, e);
}

int op_copy_out(uint32_t number, const json_t *args, json_t **result, struct err *e) {
    struct job job = {.run = job_copy_out, .in_container = true, .whole = args_true(args, "attributes")};
    (void)result;
    return transfer(number, args, job, e);
}

int op_export(uint32_t number, const json_t *args, json_t **result, struct err *e) {
    (void)result;
    return transfer(number, args, (struct job){.run = job_export}, e);
}

int op_layer(uint32_t number, const json_t *args, json_t **result, struct err *e) {
    (void)result;
    return transfer(number, args, (struct job){.run = job_layer}, e);
}

int op_changes(uint32_t number, const json_t *args, json_t **result, struct err *e) {
    int lower = rootfs_lower(e); /* mounted here, for all to come, and not in each child */
    (void)result;
    if (lower < 0)
        return lower;
    close(lower);
    return transfer(number, args, (struct job){.run = job_changes}, e);
}

int op_replay(uint32_t number, const json_t *args, json_t **result, struct err *e) {
    (void)result;
    return transfer(number, args, (struct job){.run = job_replay, .input = true}, e);
}
