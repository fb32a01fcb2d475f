/* Volumes: disks and shares of the host, mounted by the agent and bound into the container. The agent keeps its own
   mounts of them, so that it can write them back and unmount them when the container has ended. */
#ifndef VOLUME_H
#define VOLUME_H

#include <jansson.h>

#include "err.h"

/* Bind the volume `name`, or with a "path" in `detail` one file of it, to `destination`; `attributes` are
   MOUNT_ATTR_*. With "populate" an empty volume first gets what the container's files have there. For the container's
   own mount namespace. */
int volume_bind(int root, const char *name, const json_t *detail, unsigned attributes, const char *destination,
                struct err *e);

/* The directory of a volume, as O_PATH; -errno. */
int volume_open(const char *name);

/* Write back and unmount all. */
void volume_unmount_all(void);

#endif
