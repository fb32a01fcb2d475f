/* The process that keeps a network namespace alive. */
#pragma once

#include <stdbool.h>

enum { HOLD_SYSCTLS_MAX = 16 };

struct hold {
    bool user;                                /* make a user namespace too */
    int netns, userns;                        /* hold these, which exist already, instead; else -1 */
    const char *bridge;                       /* name of the bridge to make */
    const char *mac;                          /* its MAC address */
    const char *address[2];                   /* its addresses with prefix length, IPv4 and IPv6; NULL: none */
    const char *sysctl[HOLD_SYSCTLS_MAX + 1]; /* key=value */
};

/*
 * Make the namespace and hold it until SIGTERM. Standard output gets `ready`; then the starter sends a byte on standard
 * input, by which it says that it took note of this process; end of file ends it instead. After that it keeps nothing
 * of the starter's. Descriptor 3 is the write end of a pipe: whoever opens /proc/<pid>/fd/3 for reading sees a hang-up
 * when the process ends.
 */
_Noreturn void hold_main(const struct hold *hold);
