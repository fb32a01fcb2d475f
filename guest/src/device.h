/* Device nodes of a container. */
#ifndef DEVICE_H
#define DEVICE_H

#include <jansson.h>

#include "err.h"

/* In a root whose /dev is mounted: the usual nodes and links, and the `devices` of a ContainerSpec. 0 or -errno. */
int device_make_all(int root, const json_t *container, struct err *e);

#endif
