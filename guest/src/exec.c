#include "exec.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent.h"
#include "args.h"
#include "caps.h"
#include "environment.h"
#include "init.h"
#include "mount.h"
#include "root.h"
#include "rootfs.h"
#include "system.h"
#include "tty.h"
#include "user.h"

/* ---- namespaces ---- */

static int enter_new(const struct launch *launch, struct err *e) {
    const json_t *container = launch->container;
    const char *hostname = args_string(container, "hostname", "container");
    /* the cgroup namespace only now: its root is the cgroup that we were born into */
    if (unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWCGROUP) < 0)
        return err_set(e, errno, "failed to make the container's namespaces");
    /* opened only now: the agent's own descriptor is of a mount in its namespace */
    int root = rootfs_open(e);
    int status = root < 0 ? root : mount_container(root, container, e);
    if (status < 0)
        return status;
    close(root);
    if (sethostname(hostname, strlen(hostname)) < 0)
        return err_set(e, errno, "failed to set the host name %s", hostname);
    status = sysctl_apply(json_object_get(container, "sysctls"), e);
    return status < 0 ? status : mount_restrict(container, e);
}

static int enter(const struct launch *launch, struct err *e) {
    if (agent.plain)
        return 0;
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* /proc/<pid>/exe is the agent: not for the container's eyes */
    if (launch->container)
        return enter_new(launch, e);
    if (setns(launch->container_pidfd, CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWCGROUP) < 0)
        return err_set(e, errno, "failed to join the container's namespaces");
    return 0;
}

/* ---- standard streams ---- */

static int send_master(int status, int master) {
    struct exec_report report = {.kind = REPORT_TERMINAL};
    union {
        struct cmsghdr head;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec data = {.iov_base = &report, .iov_len = sizeof report};
    struct msghdr message = {
        .msg_iov = &data, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof control.space};
    control.head.cmsg_level = SOL_SOCKET;
    control.head.cmsg_type = SCM_RIGHTS;
    control.head.cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(&control.head), &master, sizeof master);
    return sendmsg(status, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int take_terminal(const struct launch *launch, uid_t owner, struct err *e) {
    char name[32];
    int master, slave;
    int status = tty_open(&master, &slave, name, sizeof name, launch->size, e);
    if (status == 0)
        status = tty_take(slave, owner, e);
    if (status < 0)
        return status;
    if (launch->container && !agent.plain) { /* the init process's terminal is the container's console */
        int console = open("/dev/console", O_CREAT | O_WRONLY | O_NOCTTY | O_CLOEXEC, 0600);
        if (console < 0 || mount(name, "/dev/console", NULL, MS_BIND, NULL) < 0)
            return err_set(e, errno, "failed to make /dev/console");
        close(console);
    }
    status = send_master(launch->status, master);
    return status < 0 ? err_set(e, -status, "failed to hand over the terminal") : 0;
}

/* Nothing of the agent's stays open but the report's descriptor: paths of the container may lead to /proc/self/fd. */
static int take_pipes(const struct launch *launch, struct err *e) {
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0)
        return err_set(e, errno, "failed to open /dev/null in the container");
    for (int i = 0; i < 3; i++)
        if (dup2(launch->stdio[i] < 0 ? null : launch->stdio[i], i) < 0)
            return err_set(e, errno, "failed to set up the standard streams");
    if (launch->status > 3)
        close_range(3, (unsigned)launch->status - 1, 0);
    close_range((unsigned)launch->status + 1, ~0U, 0);
    return 0;
}

/* So that it can open them again, as /dev/stdout. The pipes are this process's alone; /dev/null stays everybody's. */
static int give_pipes(const struct launch *launch, uid_t owner, struct err *e) {
    for (int i = 0; i < 3 && !agent.plain; i++)
        if (launch->stdio[i] >= 0 && fchown(i, owner, (gid_t)-1) < 0)
            return err_set(e, errno, "failed to give the standard streams to user %u", owner);
    return 0;
}

/* ---- limits and credentials ---- */

static const struct {
    const char *name;
    int resource;
} limits[] = {
    {"RLIMIT_CPU", RLIMIT_CPU},           {"RLIMIT_FSIZE", RLIMIT_FSIZE},
    {"RLIMIT_DATA", RLIMIT_DATA},         {"RLIMIT_STACK", RLIMIT_STACK},
    {"RLIMIT_CORE", RLIMIT_CORE},         {"RLIMIT_RSS", RLIMIT_RSS},
    {"RLIMIT_NPROC", RLIMIT_NPROC},       {"RLIMIT_NOFILE", RLIMIT_NOFILE},
    {"RLIMIT_MEMLOCK", RLIMIT_MEMLOCK},   {"RLIMIT_AS", RLIMIT_AS},
    {"RLIMIT_LOCKS", RLIMIT_LOCKS},       {"RLIMIT_SIGPENDING", RLIMIT_SIGPENDING},
    {"RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE}, {"RLIMIT_NICE", RLIMIT_NICE},
    {"RLIMIT_RTPRIO", RLIMIT_RTPRIO},     {"RLIMIT_RTTIME", RLIMIT_RTTIME},
};

/* 2**64 - 1 does not fit JSON's integers here: it comes as a real, or as a negative number. */
static rlim_t limit_value(const json_t *value) {
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return RLIM_INFINITY;
    return (rlim_t)json_integer_value(value);
}

static int apply_limits(const json_t *process, struct err *e) {
    const json_t *item;
    size_t index;
    json_array_foreach(args_array(process, "rlimits"), index, item) {
        const char *name = args_string(item, "limit", "");
        struct rlimit limit = {.rlim_cur = limit_value(json_object_get(item, "soft")),
                               .rlim_max = limit_value(json_object_get(item, "hard"))};
        int resource = -1;
        for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++)
            if (strcmp(limits[i].name, name) == 0)
                resource = limits[i].resource;
        if (resource < 0)
            return err_set(e, EINVAL, "unknown resource limit %s", name);
        if (setrlimit((__rlimit_resource_t)resource, &limit) < 0)
            return err_set(e, errno, "failed to set %s", name);
    }
    return 0;
}

static int become(const struct launch *launch, const struct user *user, struct err *e) {
    if (launch->no_new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return err_set(e, errno, "failed to set no_new_privs");
    if (agent.plain)
        return 0;
    int status = caps_bound(launch->capabilities, e);
    if (status < 0)
        return status;
    if (setgroups((size_t)user->group_count, user->groups) < 0 || setresgid(user->gid, user->gid, user->gid) < 0 ||
        setresuid(user->uid, user->uid, user->uid) < 0)
        return err_set(e, errno, "failed to become user %u:%u", user->uid, user->gid);
    return user->uid == 0 ? caps_apply(launch->capabilities, e) : 0;
}

/* ---- the program ---- */

/*
 * Into the working directory, which the init process makes if it is missing. Not by chdir(2): no link of /proc may lead
 * out of the container.
 */
static int go_to(const struct launch *launch, const char *directory) {
    bool make = launch->container && !agent.plain;
    int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    int fd = root < 0 ? -errno
             : make   ? root_mkdirs(root, directory)
                      : root_open(root, directory, O_PATH | O_DIRECTORY, 0);
    int status = fd < 0 ? fd : fchdir(fd) < 0 ? -errno : 0;
    if (fd >= 0)
        close(fd);
    if (root >= 0)
        close(root);
    return status;
}

static int no_program(const char *name, int number, bool searched, struct err *e) {
    if (number == ENOENT && searched)
        err_code(e, "notFound", number, "failed to run %s: executable file not found in $PATH", name);
    else
        err_set(e, number, "failed to run %s", name);
    e->exit_code = number == ENOENT || number == ENOTDIR ? 127 : 126;
    return -number;
}

/* execve(2), through the PATH of the new environment when the name has no slash. Returns only on failure. */
static int execute(const char *name, char **arguments, char **environment, struct err *e) {
    char path[PATH_MAX];
    int number = ENOENT;
    if (strchr(name, '/') || !*name) {
        execve(name, arguments, environment);
        return no_program(name, errno, !*name, e);
    }
    for (const char *at = environment_get(environment, "PATH"); at && *at;) {
        size_t length = strcspn(at, ":");
        struct stat found;
        if (length + strlen(name) + 2 <= sizeof path) {
            memcpy(path, at, length);
            path[length] = '/';
            strcpy(path + length + 1, name);
            execve(path, arguments, environment);
            /* a directory of that name is not a program: go on */
            if (errno != ENOENT && errno != ENOTDIR && !(stat(path, &found) == 0 && S_ISDIR(found.st_mode)))
                number = errno;
            if (number != ENOENT && number != EACCES)
                break;
        }
        at += length + (at[length] == ':');
    }
    return no_program(name, number, true, e);
}

static void reset_signals(void) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    umask(022);
}

/* The last process of the chain: from here to the program. Returns only on failure. */
static int run(const struct launch *launch, struct err *e) {
    static struct user user;
    const char *name = args_string(launch->process, "executable", "");
    const char *directory = args_string(launch->process, "workingDirectory", "/");
    int status = take_pipes(launch, e);
    if (status == 0)
        status = user_resolve(launch->process, &user, e);
    if (status < 0)
        return status;
    setsid();
    status = launch->terminal ? take_terminal(launch, user.uid, e) : give_pipes(launch, user.uid, e);
    if (status < 0)
        return status;
    char **arguments = environment_arguments(name, launch->process);
    char **environment = environment_build(launch->process, user.home, launch->terminal);
    if (!arguments || !environment)
        return err_set(e, ENOMEM, "failed to run %s", name);
    int there = go_to(launch, directory); /* as root: it need not be one that the user may enter */
    status = apply_limits(launch->process, e);
    if (status == 0)
        status = become(launch, &user, e);
    if (status == 0 && there == -EACCES)
        there = go_to(launch, directory); /* a directory of the host may be the user's and not root's */
    if (status == 0 && there < 0)
        status = err_set(e, -there, "failed to enter the working directory %s", directory);
    if (status < 0)
        return status;
    reset_signals();
    return execute(name, arguments, environment, e);
}

noreturn void exec_child(const struct launch *launch) {
    struct exec_report report = {.kind = REPORT_ERROR};
    int status = enter(launch, &report.error);
    if (status == 0 && args_true(launch->container, "useInit"))
        status = init_become(&report.error); /* returns in the child of the container's init */
    if (status == 0)
        run(launch, &report.error);
    if (send(launch->status, &report, sizeof report, MSG_NOSIGNAL) < 0)
        _exit(125);
    _exit(report.error.exit_code ? report.error.exit_code : 125);
}
