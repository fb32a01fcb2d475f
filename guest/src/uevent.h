/* Waiting for devices: the kernel's uevents (netlink(7), NETLINK_KOBJECT_UEVENT). */
#ifndef UEVENT_H
#define UEVENT_H

#include <stdbool.h>

/* Call `found(context)` now and after each uevent until it says true: 0, or -ETIMEDOUT after `ms`, or -errno. */
int uevent_until(bool (*found)(void *context), void *context, int ms);

#endif
