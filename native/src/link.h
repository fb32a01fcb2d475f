/* Network interfaces of this process's namespace, by the ioctls of netdevice(7). All return 0 or -errno. */
#pragma once

#include <stdbool.h>

int link_add_bridge(const char *bridge);
int link_add_port(const char *bridge, const char *port);
int link_set_mac(const char *name, const char *mac); /* 11:22:33:44:55:66 */
int link_set_mtu(const char *name, int mtu);
int link_set_up(const char *name);

/* `address` with prefix length, as 192.168.64.1/24 or fd00::1/64. */
int link_add_address(const char *name, const char *address);

/*
 * Create the TAP `name` and return its descriptor: without packet information, with virtio-net headers.
 * The interface lives as long as a copy of the descriptor.
 */
int link_open_tap(const char *name);
