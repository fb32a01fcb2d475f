/* The container's root file system as the agent mounts it: layers, upper, overlay. */
#ifndef ROOTFS_H
#define ROOTFS_H

#include "err.h"

/* The mounted root as O_PATH descriptor (borrowed), or -errno when there is none yet. */
int rootfs_fd(struct err *e);

/* The same opened anew, in the caller's mount namespace; the caller's to close. */
int rootfs_open(struct err *e);

/* The image without what the container changed, to be read; the caller's to close, or -errno. */
int rootfs_lower(struct err *e);

/*
 * The root file system as it is now, to be read, in a mount namespace of the calling process's own; its to close, or
 * -errno. It shares no lock with the container's own mount, whose writers hold theirs while they wait for an upper that
 * is frozen.
 */
int rootfs_snapshot(struct err *e);

/* Unmount all of it and flush it to its disk: the files are then as after a clean shutdown. */
void rootfs_unmount(void);

#endif
