/*
 * One direction of a relayed connection: bytes move from one socket to another through a pipe, by splice(2),
 * without ever being copied to this process.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct pipe_pair {
    int read, write; /* -1: none */
};

/* Pipes that are empty and not in use; a pipe is borrowed only while bytes are in it. */
struct pipe_pool {
    struct pipe_pair spare[64];
    size_t count;
};

struct flow {
    int from, to;
    struct pipe_pair pipe;
    size_t held; /* bytes in the pipe */
    bool ended;  /* end of file was read */
    bool done;   /* and passed on, or nothing can be passed on any more */
};

enum flow_state {
    FLOW_BLOCKED, /* wait for an event */
    FLOW_BUSY,    /* more can be moved now; let others have a turn first */
    FLOW_FAILED,  /* the connection was reset or broke; errno says why */
};

void flow_init(struct flow *flow, int from, int to);

/* Move what can be moved without blocking, up to a fair share. */
enum flow_state flow_pump(struct flow *flow, struct pipe_pool *pool);

/* Give the pipe back; the sockets are not the flow's. */
void flow_release(struct flow *flow, struct pipe_pool *pool);
