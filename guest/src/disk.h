/* Disks, found by the serial that the host gave them. */
#ifndef DISK_H
#define DISK_H

#include <stddef.h>

#include "err.h"

/* Path of the whole disk (partition 0) or of one partition; waits a bounded time for one that is being plugged. */
int disk_find(const char *serial, int partition, char *path, size_t size, struct err *e);

#endif
