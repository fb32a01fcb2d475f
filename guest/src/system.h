/* The guest as a whole: sysctls, clock, random pool, power. */
#ifndef SYSTEM_H
#define SYSTEM_H

#include <jansson.h>
#include <stdnoreturn.h>

#include "err.h"

/* Set every member of an object: `net.ipv4.ip_forward` = "1" (proc(5), /proc/sys). */
int sysctl_apply(const json_t *sysctls, struct err *e);

/* Credit the bytes that `hex` spells to the random pool, and have the kernel use them at once. */
int system_seed(const char *hex);

/* Kill, unmount, sync, power off; as an ordinary process: exit. */
noreturn void system_shutdown(int code);

#endif
