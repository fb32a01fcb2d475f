/* The mounts that a container finds: made by its first process, in its own namespaces, before it sees any of them. */
#ifndef MOUNT_H
#define MOUNT_H

#include <jansson.h>

#include "err.h"

/*
 * In fresh mount, uts, ipc, pid and cgroup namespaces: standard mounts, device nodes, the container's own mounts; then
 * the root file system becomes `/` and the guest's is gone. `container`: the ContainerSpec of
 * src/container/guest/spec.py.
 */
int mount_container(int root, const json_t *container, struct err *e);

/* After mount_container: mask and make read-only what was asked, the root file system included. */
int mount_restrict(const json_t *container, struct err *e);

#endif
