/* Sockets on which a network's own services answer. */
#pragma once

/*
 * A UDP socket and a listening TCP socket on `address` and `port`, which only take what comes in by `device`; fds[0]
 * and fds[1]. 0 or -errno, and nothing is open then.
 */
int serve_open(const char *device, const char *address, int port, int fds[2]);
