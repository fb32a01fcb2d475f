#define _GNU_SOURCE
#include "watch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "changed.h"
#include "err.h"
#include "pretend.h"
#include "replay.h"

enum { WATCHES_MAX = 65536, BUFFER_SIZE = 65536, DEBOUNCE_MS = 100 };

#define EVENTS                                                                                                         \
    (IN_MODIFY | IN_ATTRIB | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_EXCL_UNLINK | IN_DONT_FOLLOW |   \
     IN_ONLYDIR)

struct directory {
    int wd;
    char *path; /* NULL: not watched any more */
};

struct later {
    char *path;
    bool report; /* what is in it, because it may have come before the watch did */
};

static struct directory *watched; /* in the order of their numbers, which only grow */
static size_t watched_count, watched_size, dead;
static struct later *queue; /* directories that are to be watched */
static size_t queue_count, queue_size;
static int root_fd = -1, inotify = -1, out = -1;
static bool warned;

/* Room for one more; false without memory. */
static bool grow(void *array, size_t *size, size_t count, size_t item) {
    void **place = array;
    if (count < *size)
        return true;
    size_t wanted = *size ? 2 * *size : 64;
    void *larger = realloc(*place, wanted * item);
    if (!larger)
        return false;
    *place = larger;
    *size = wanted;
    return true;
}

static void forget(struct directory *directory) {
    free(directory->path);
    directory->path = NULL;
    dead++;
}

static void compact(void) {
    size_t kept = 0;
    if (dead < 64 || dead < watched_count / 2)
        return;
    for (size_t i = 0; i < watched_count; i++)
        if (watched[i].path)
            watched[kept++] = watched[i];
    watched_count = kept;
    dead = 0;
}

static struct directory *find(int wd) {
    size_t low = 0, high = watched_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (watched[middle].wd < wd)
            low = middle + 1;
        else
            high = middle;
    }
    return low < watched_count && watched[low].wd == wd ? &watched[low] : NULL;
}

static void limit_reached(const char *limit) {
    if (!warned)
        changed_warn(out, "too many directories to watch (%s): changes in some of them are not reported", limit);
    warned = true;
}

static void enqueue(const char *parent, const char *name, bool report) {
    char *path;
    if (watched_count - dead + queue_count >= WATCHES_MAX) {
        limit_reached("65536 a share");
        return;
    }
    bool top = strcmp(parent, ".") == 0;
    if (!grow(&queue, &queue_size, queue_count, sizeof *queue) ||
        asprintf(&path, "%s%s%s", top ? "" : parent, top ? "" : "/", name) < 0)
        return;
    queue[queue_count++] = (struct later){path, report};
}

/* Never out of the tree, whatever a guest replaces by a link meanwhile. */
static int open_inside(const char *path, unsigned flags) {
    struct open_how how = {
        .flags = flags | O_DIRECTORY | O_CLOEXEC,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };
    return (int)syscall(SYS_openat2, root_fd, path, &how, sizeof how);
}

static bool add(int fd, const char *path, unsigned events) {
    char name[32];
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    int wd = inotify_add_watch(inotify, name, events & ~(unsigned)IN_DONT_FOLLOW); /* the link is ours */
    if (wd < 0 && errno == ENOSPC)
        limit_reached("the host's fs.inotify.max_user_watches");
    struct directory *known = wd < 0 ? NULL : find(wd);
    char *copy = wd < 0 ? NULL : strdup(path);
    if (!copy)
        return false;
    if (known) { /* moved: it has its watch already */
        dead -= !known->path;
        free(known->path);
        known->path = copy;
        return true;
    }
    if (!grow(&watched, &watched_size, watched_count, sizeof *watched)) {
        free(copy);
        return false;
    }
    watched[watched_count++] = (struct directory){wd, copy};
    return true;
}

static bool is_directory(int directory, const struct dirent *entry) {
    struct stat found;
    if (entry->d_type != DT_UNKNOWN)
        return entry->d_type == DT_DIR;
    return fstatat(directory, entry->d_name, &found, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(found.st_mode);
}

/* Watch the next directory of the queue; those in it are queued. */
static void scan_one(void) {
    struct later next = queue[--queue_count];
    int fd = open_inside(next.path, O_RDONLY);
    DIR *list = fd < 0 || !add(fd, next.path, EVENTS) ? NULL : fdopendir(fd);
    for (struct dirent *entry; list && (entry = readdir(list));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        bool directory = is_directory(fd, entry);
        if (directory)
            enqueue(next.path, entry->d_name, next.report);
        if (next.report)
            changed_add(directory ? REPLAY_CHANGED : REPLAY_MODIFIED, next.path, entry->d_name);
    }
    if (list)
        closedir(list);
    else if (fd >= 0)
        close(fd);
    free(next.path);
}

/* A directory was moved away: it has other paths now, or is out of the tree. */
static void forget_tree(const char *parent, const char *name) {
    char path[PATH_MAX];
    bool top = strcmp(parent, ".") == 0;
    int length = snprintf(path, sizeof path, "%s%s%s", top ? "" : parent, top ? "" : "/", name);
    for (size_t i = 0; i < watched_count; i++) {
        const char *known = watched[i].path;
        if (!known || strncmp(known, path, (size_t)length) != 0 || (known[length] && known[length] != '/'))
            continue;
        inotify_rm_watch(inotify, watched[i].wd);
        forget(&watched[i]);
    }
}

static void take(const struct inotify_event *event) {
    struct directory *directory = find(event->wd);
    const char *name = event->len ? event->name : "";
    if (event->mask & IN_Q_OVERFLOW) {
        changed_add(REPLAY_CHANGED, ".", "");
        if (!queue_count)
            enqueue(".", ".", false); /* a directory may have come without a word */
    }
    if (!directory || !directory->path)
        return;
    if (event->mask & IN_IGNORED) {
        forget(directory);
        return;
    }
    const char *path = directory->path;
    bool is_dir = event->mask & IN_ISDIR;
    if (event->mask & (IN_DELETE | IN_MOVED_FROM | IN_CREATE | IN_MOVED_TO))
        changed_add(REPLAY_CHANGED, path, "");
    if (event->mask & (IN_MODIFY | IN_CREATE | IN_MOVED_TO))
        changed_add(is_dir ? REPLAY_CHANGED : REPLAY_MODIFIED, path, name);
    if (event->mask & IN_ATTRIB)
        changed_add(REPLAY_CHANGED, path, name);
    if (is_dir && (event->mask & IN_MOVED_FROM))
        forget_tree(path, name);
    if (is_dir && (event->mask & (IN_CREATE | IN_MOVED_TO)))
        enqueue(path, name, true);
}

static void read_events(void) {
    static _Alignas(struct inotify_event) char buffer[BUFFER_SIZE];
    ssize_t got = read(inotify, buffer, sizeof buffer);
    for (ssize_t at = 0; at < got;) {
        const struct inotify_event *event = (const void *)(buffer + at);
        take(event);
        at += (ssize_t)(sizeof *event + event->len);
    }
    compact();
}

/* A batch waits until it is DEBOUNCE_MS old; milliseconds until then, -1: there is none. */
static int patience(void) {
    long long since, left;
    if (!changed_any(&since))
        return -1;
    left = since + DEBOUNCE_MS - changed_now();
    return left > 0 ? (int)left : 0;
}

static void begin(const char *root, bool *directory) {
    struct stat found;
    inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    root_fd = open(root, O_RDONLY | O_CLOEXEC);
    if (inotify < 0 || root_fd < 0 || fstat(root_fd, &found) < 0)
        fail_errno(errno, "cannot watch %s for changes", root);
    *directory = S_ISDIR(found.st_mode);
    if (*directory)
        enqueue(".", ".", false);
    else
        add(root_fd, "file", IN_MODIFY | IN_ATTRIB);
}

noreturn void watch(const char *root, int socket, int listener) {
    bool directory, complete = false;
    out = socket;
    begin(root, &directory);
    for (;;) {
        int left = patience();
        struct pollfd ready[] = {
            {.fd = listener, .events = POLLIN},
            {.fd = inotify, .events = POLLIN},
            {.fd = out, .events = left == 0 ? POLLOUT : 0},
        };
        if (poll(ready, 3, queue_count || !complete ? 0 : left > 0 ? left : -1) < 0 && errno != EINTR)
            fail_errno(errno, "cannot wait for changes");
        if (ready[0].revents & POLLIN)
            pretend_answer(listener);
        if ((ready[0].revents | ready[2].revents) & (POLLHUP | POLLERR))
            _exit(0);
        if (ready[1].revents & POLLIN)
            read_events();
        if (queue_count)
            scan_one();
        if (!complete && !queue_count) {
            changed_add(REPLAY_CHANGED, ".", "");
            complete = true;
        }
        if (left == 0 && ready[2].revents & POLLOUT && changed_send(out) < 0)
            _exit(0);
    }
}
