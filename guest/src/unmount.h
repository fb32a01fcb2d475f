/* Letting go of file systems, before the machine is switched off. */
#ifndef UNMOUNT_H
#define UNMOUNT_H

/* Unmount; what is busy is detached. */
void unmount(const char *path);

/* The same for what was written to: its disk is complete afterwards, with nothing to replay, whoever still holds it. */
void unmount_written(const char *path);

#endif
