/*
 * Published UDP ports: each client of a listener has a session, a socket in the container's network that is connected
 * to the target, so that answers find their way back. Sessions that nothing passes through end after a while; when
 * there are too many, the one that was quiet for the longest time makes room.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conn.h"

struct udp;

/* `limit` sessions at most, which end after `idle_ms` without a datagram. NULL with errno. */
struct udp *udp_create(int epoll, size_t limit, int64_t idle_ms);

/*
 * Prepare a bound socket of the host: it says to which of the host's addresses a datagram came, and forgets those that
 * came before. 0, or -1 with errno.
 */
int udp_prepare(int fd);

/* Pass on what clients sent. */
void udp_from_clients(struct udp *udp, struct listener *listener);

/* Pass on what a container answered in the session that `watch` (SOURCE_SESSION) belongs to. */
void udp_from_target(struct udp *udp, struct watch *watch);

/* End quiet sessions; milliseconds until this should be called again, -1: there is none. */
int udp_expire(struct udp *udp);

void udp_free(struct udp *udp);
