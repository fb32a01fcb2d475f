/* Descriptors over a unix socket (unix(7), SCM_RIGHTS). */
#pragma once

#include <stddef.h>

enum { PASS_MAX = 16 };

/* Send `count` descriptors (at most PASS_MAX) with one byte. 0 or -errno. */
int pass_descriptors(int socket, const int *fds, size_t count);

/* Take one descriptor that came with one byte. It, or -errno. */
int pass_receive(int socket);
