#include "socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent.h"
#include "args.h"
#include "dispatch.h"
#include "log.h"
#include "loop.h"
#include "processes.h"
#include "proto.h"
#include "relay.h"
#include "root.h"

enum { LISTENERS_MAX = 64, CONNECTIONS_MAX = 256, BACKLOG = 128, REST_MS = 100 };

struct listener {
    struct listener *next;
    struct watch watch;
    char id[64];
};

static void resume(struct timer *timer);

static struct listener *listeners;
static int listener_count, connections;
static struct timer rest = {.fire = resume};

int socket_path(const char *listener, char *path, size_t size, struct err *e) {
    size_t length = strlen(listener);
    if (!length || length >= sizeof listeners->id || strchr(listener, '/') || *listener == '.')
        return err_set(e, EINVAL, "invalid listener %.64s", listener);
    int wrote = snprintf(path, size, "%s/socket-%s", agent.state, listener);
    return wrote < 0 || (size_t)wrote >= size ? err_set(e, ENAMETOOLONG, "failed to listen for %s", listener) : 0;
}

/* ---- from the container to the host ---- */

static void accept_ready(struct watch *watch, uint32_t events);

static void watch_all(bool listening) {
    for (struct listener *listener = listeners; listener; listener = listener->next)
        if (listening)
            loop_watch(&listener->watch, EPOLLIN);
        else
            loop_unwatch(&listener->watch);
}

static void resume(struct timer *timer) {
    (void)timer;
    if (connections < CONNECTIONS_MAX)
        watch_all(true);
}

static void connection_gone(void) {
    connections--;
    if (!rest.set)
        resume(NULL);
}

static void accept_ready(struct watch *watch, uint32_t events) {
    struct listener *listener = container_of(watch, struct listener, watch);
    struct err e;
    (void)events;
    int fd = accept4(watch->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
            return;
        log_line("cannot accept a connection for %s: %s", listener->id, strerror(errno));
        watch_all(false); /* short of descriptors or memory: it would be ready at once again */
        loop_timer(&rest, REST_MS);
        return;
    }
    uint32_t stream = relay_next();
    connections++;
    if (relay_open_socket(stream, fd, connection_gone, &e) < 0) {
        connections--;
        log_line("%s", e.text);
        return;
    }
    dispatch_event(
        json_pack("{s:s, s:s, s:I}", "event", "connection", "listener", listener->id, "stream", (json_int_t)stream));
    if (connections >= CONNECTIONS_MAX)
        watch_all(false);
}

static int listen_at(const char *path, struct err *e) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        return err_set(e, ENAMETOOLONG, "failed to listen at %s", path);
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_set(e, errno, "failed to listen at %s", path);
    unlink(path);
    /* the agent's umask is 0: whoever in the container gets to see it may connect */
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || chmod(path, 0666) < 0 || listen(fd, BACKLOG) < 0) {
        int number = errno;
        close(fd);
        return err_set(e, number, "failed to listen at %s", path);
    }
    return fd;
}

/* {"listener"}: each connection to its socket is told by an event {"event": "connection", "listener", "stream"}. */
int op_listen(uint32_t number, const json_t *args, json_t **result, struct err *e) {
    const char *id = args_string(args, "listener", "");
    char path[256];
    (void)number;
    int status = socket_path(id, path, sizeof path, e);
    if (status < 0)
        return status;
    for (struct listener *listener = listeners; listener; listener = listener->next)
        if (strcmp(listener->id, id) == 0)
            return err_code(e, "exists", EEXIST, "listener %s exists already", id);
    struct listener *listener = listener_count < LISTENERS_MAX ? calloc(1, sizeof *listener) : NULL;
    if (!listener)
        return err_set(e, ENOMEM, "failed to listen for %s", id);
    int fd = listen_at(path, e);
    if (fd < 0) {
        free(listener);
        return fd;
    }
    strcpy(listener->id, id);
    listener->watch = (struct watch){.fd = fd, .ready = accept_ready};
    listener->next = listeners;
    listeners = listener;
    listener_count++;
    loop_watch(&listener->watch, EPOLLIN);
    *result = json_pack("{s:s}", "path", path);
    return 0;
}

void socket_reset_all(void) {
    char path[256];
    struct err e;
    while (listeners) {
        struct listener *listener = listeners;
        listeners = listener->next;
        loop_close(&listener->watch);
        if (socket_path(listener->id, path, sizeof path, &e) == 0)
            unlink(path);
        free(listener);
    }
    listener_count = 0;
    loop_timer_cancel(&rest);
}

/* ---- from the host to the container ---- */

/* The root directory as the container's processes see it, mounts and all. */
static int container_root(struct err *e) {
    char path[64] = "/";
    if (!agent.plain && !container.init)
        return err_code(e, "invalidState", ESRCH, "the container is not running");
    if (!agent.plain)
        snprintf(path, sizeof path, "/proc/%d/root", (int)container.init->pid);
    int root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return root < 0 ? err_set(e, errno, "failed to open the container's root") : root;
}

static int connect_to(int target) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d", target);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        int number = errno;
        close(fd);
        return -number;
    }
    return fd < 0 ? -errno : fd;
}

/* {"path", "stream"}: join a stream to a socket that a process of the container listens on. */
int op_connect(uint32_t number, const json_t *args, json_t **result, struct err *e) {
    const char *path = args_string(args, "path", "");
    long long stream = args_integer(args, "stream", 0);
    (void)number, (void)result;
    if (path[0] != '/')
        return err_set(e, EINVAL, "cannot connect to \"%s\"", path);
    if (stream <= 0 || stream > UINT32_MAX || !relay_free((uint32_t)stream))
        return err_set(e, EINVAL, "stream %lld cannot be opened", stream);
    int root = container_root(e);
    if (root < 0)
        return root;
    int target = root_open(root, path, O_PATH, 0);
    close(root);
    int fd = target < 0 ? target : connect_to(target);
    if (target >= 0)
        close(target);
    if (fd < 0)
        return err_set(e, -fd, "failed to connect to %s in the container", path);
    connections++;
    int status = relay_open_socket((uint32_t)stream, fd, connection_gone, e);
    if (status < 0)
        connections--;
    return status;
}
