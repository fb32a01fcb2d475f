#include "transfer_child.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent.h"
#include "changes.h"
#include "pack.h"
#include "place.h"
#include "rootfs.h"
#include "tar.h"
#include "unpack.h"
#include "upper.h"

static int open_root(struct err *e) {
    int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    return root < 0 ? err_set(e, errno, "failed to open the container's root") : root;
}

int job_copy_out(const struct job *job, struct err *e) {
    static char name[PATH_MAX];
    const struct pack_options options = {.attributes = job->whole, .sparse = !job->whole};
    int root = open_root(e);
    int fd = root < 0 ? root : place_source(root, job->path, e);
    if (fd < 0)
        return fd;
    place_name(job->path, name);
    return pack(fd, *name ? name : ".", &options, CHILD_DATA, e);
}

/* The first component of a member's name: what the copy is called on the host. */
static void called(const char *member, char *name) {
    size_t length = strcspn(member, "/");
    memcpy(name, member, length);
    name[length] = 0;
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        name[0] = 0;
}

int job_copy_in(const struct job *job, struct err *e) {
    static struct tar_reader reader; /* not initialised: it is large, and would be in the program */
    static struct place place;
    static char name[PATH_MAX];
    struct tar_entry first;
    reader.fd = CHILD_DATA;
    int root = open_root(e);
    int more = root < 0 ? 0 : tar_read(&reader, &first);
    if (root < 0)
        return root;
    if (more < 0 || (more == 0 && !job->whole))
        return tar_failed(e, more < 0 ? more : -ENODATA);
    if (more > 0)
        called(first.name, name);
    int status = job->whole ? place_into(root, job->path, &place, e)
                            : place_destination(root, job->path, first.kind == TAR_DIRECTORY, name, true, &place, e);
    if (status < 0 || more == 0)
        return status;
    const struct unpack_target target = {
        .root = root,
        .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
        .base = place.base,
        .as = job->whole ? NULL : place.as,
        .owners = job->whole,
    };
    return unpack(&reader, &first, &target, e);
}

int job_export(const struct job *job, struct err *e) {
    const struct pack_options options = {.attributes = true, .devices = true};
    (void)job;
    int fd = rootfs_snapshot(e);
    return fd < 0 ? fd : pack(fd, "", &options, CHILD_DATA, e);
}

int job_layer(const struct job *job, struct err *e) {
    const struct pack_options options = {.attributes = true, .devices = true, .layer = true};
    (void)job;
    int fd = upper_open(e);
    return fd < 0 ? fd : pack(fd, "", &options, CHILD_DATA, e);
}

int job_changes(const struct job *job, struct err *e) {
    (void)job;
    int upper = upper_open(e);
    int lower = upper < 0 ? upper : rootfs_lower(e);
    return lower < 0 ? lower : changes_write(upper, lower, CHILD_DATA, e);
}

void transfer_child(const struct job *job, struct err *e) {
    umask(0);
    /* It must not preempt the agent at each frame: on one CPU the pipe between them is filled and emptied whole. */
    sched_setscheduler(0, SCHED_BATCH, &(struct sched_param){0});
    if (job->in_container && !agent.plain) {
        prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
        if (setns(CHILD_CONTAINER, CLONE_NEWNS) < 0) {
            err_set(e, errno, "failed to join the container's mounts");
            return;
        }
    }
    if (!job->freezes || upper_freeze(e) == 0)
        job->run(job, e);
}
