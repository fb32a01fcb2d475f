/* The event loop of the port relay. */
#pragma once

#include <stddef.h>

#include "conn.h"

/*
 * Accept on the listeners, which must not block, and relay until `lifeline` hangs up. At most `limit` connections:
 * further clients wait in the listeners' backlogs. Returns 0, or -1 with errno when the loop cannot go on.
 */
int relay_run(struct listener *listeners, size_t count, int lifeline, size_t limit);
