/* From the kernel's first instruction of user space to an open channel. */
#ifndef BOOT_H
#define BOOT_H

/* As PID 1: a root that can be left, standard mounts, the modules of the channel, the port; the channel's descriptor,
 * or -errno. */
int boot(void);

#endif
