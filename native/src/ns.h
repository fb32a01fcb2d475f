/* Namespaces of this process. */
#pragma once

#include <stdbool.h>

/* Make and enter a network namespace, with `user` inside a user namespace in which the caller is root. Dies on failure.
 */
void ns_create(bool user);

/* Enter the user namespace (unless `userns` is -1), then the network namespace, that the descriptors lead to. 0 or
 * -errno. */
int ns_enter(int netns, int userns);

/* Write `value` to /proc/sys/`key`; of net/ keys it is this process's network namespace that is meant. 0 or -errno. */
int ns_sysctl(const char *key, const char *value);
