/* What the whole agent knows about how it runs; set by main before anything else. */
#ifndef AGENT_H
#define AGENT_H

#include <stdbool.h>

#define AGENT_VERSION "0.1.0"

struct agent {
    bool pid1;         /* init of a virtual machine */
    bool plain;        /* test mode: processes run without namespaces, root file system and credentials of their own */
    const char *state; /* directory of our mount points, absolute; short, because overlay's option string is bounded */
    long started_ms;   /* CLOCK_BOOTTIME when we began */
};

extern struct agent agent;

#endif
