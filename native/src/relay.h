/* The event loop of the port relay. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "conn.h"

struct limits {
    size_t connections; /* further clients wait in the listeners' backlogs */
    size_t sessions;    /* of UDP */
    int64_t idle_ms;    /* after which a session ends */
};

/*
 * Accept on the listeners, which must not block, or take datagrams from them, and relay until `lifeline` hangs up.
 * Returns 0, or -1 with errno when the loop cannot go on.
 */
int relay_run(struct listener *listeners, size_t count, int lifeline, const struct limits *limits);
