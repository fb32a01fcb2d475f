/*
 * Kernel modules of the initramfs: /modules.list has their absolute paths, one a line, in load order.
 *
 * Loading costs a good part of a boot, so each is loaded when its time has come: what the channel needs before anything
 * else, the rest while the host digests the hello, file sharing when a share is mounted.
 */
#ifndef MODULES_H
#define MODULES_H

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

#endif
