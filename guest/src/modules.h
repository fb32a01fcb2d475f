/*
 * Kernel modules of the initramfs: /modules.list has their absolute paths, one a line, in load order.
 *
 * Loading costs a good part of a boot, so each is loaded when its time has come: what the channel needs before anything
 * else, the rest while the host digests the hello, file sharing when a share is mounted, drivers for the container's
 * own use when it uses them.
 */
#ifndef MODULES_H
#define MODULES_H

#include <stdbool.h>

/* Read the list, load up to virtio_console. */
void modules_for_channel(void);

/* Load the rest; with several CPUs, what only the network needs is loaded by a child process meanwhile. */
void modules_rest(void);

/* Wait until the network's are loaded. */
void modules_settle(void);

/* Load, a moment from now, what no start needs: the balloon. */
void modules_late(void);

/* Load what virtiofs needs; also in a child of the agent. */
void modules_for_sharing(void);

/* From now on the kernel has a driver of the container's (fuse, tun) loaded when a process opens its device. */
void modules_on_demand(void);

/* The kernel then runs this program under that name as its modprobe(8), with an alias; the exit status. */
#define MODULES_PROGRAM "/modprobe"
int modules_probe(const char *alias);

/* Whether a path is the device of such a driver, which is then loaded; also in a child of the agent. */
bool modules_for_device(const char *path);

#endif
