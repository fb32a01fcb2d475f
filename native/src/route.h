/* Policy routing of this network namespace (rtnetlink(7)). */
#pragma once

#include <stdint.h>

/* Packets of this family with this mark are for this namespace's own sockets, whatever their destination. 0, -errno. */
int route_to_us(int family, uint32_t mark);
