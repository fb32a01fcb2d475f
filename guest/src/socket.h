/* Unix sockets between the container and the host: each connection is a stream of the channel. */
#ifndef SOCKET_H
#define SOCKET_H

#include <stddef.h>

#include "err.h"

/* Where the socket of a listener is; a mount of kind "socket" puts it into the container. 0 or -errno. */
int socket_path(const char *listener, char *path, size_t size, struct err *e);

/* Listeners are void (a new HELLO). */
void socket_reset_all(void);

#endif
