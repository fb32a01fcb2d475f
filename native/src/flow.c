#define _GNU_SOURCE
#include "flow.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PIPE_BYTES = 262144, ROUNDS = 16 };

static int borrow(struct pipe_pair *pipe, struct pipe_pool *pool) {
    int ends[2];

    if (pool->count > 0) {
        *pipe = pool->spare[--pool->count];
        return 0;
    }
    if (pipe2(ends, O_NONBLOCK | O_CLOEXEC) < 0)
        return -1;
    fcntl(ends[1], F_SETPIPE_SZ, PIPE_BYTES); /* where the user has enough already, it stays smaller (pipe(7)) */
    *pipe = (struct pipe_pair){ends[0], ends[1]};
    return 0;
}

static void give_back(struct pipe_pair *pipe, struct pipe_pool *pool, bool empty) {
    if (pipe->read < 0)
        return;
    if (empty && pool->count < sizeof(pool->spare) / sizeof(pool->spare[0])) {
        pool->spare[pool->count++] = *pipe;
    } else {
        close(pipe->read);
        close(pipe->write);
    }
    *pipe = (struct pipe_pair){-1, -1};
}

void flow_init(struct flow *flow, int from, int to) {
    *flow = (struct flow){.from = from, .to = to, .pipe = {-1, -1}};
}

void flow_release(struct flow *flow, struct pipe_pool *pool) {
    give_back(&flow->pipe, pool, flow->held == 0);
    flow->held = 0;
}

/* Socket to pipe. 1 when something happened, 0 when it would block, -1 on failure. */
static int fill(struct flow *flow, struct pipe_pool *pool) {
    if (flow->ended || flow->held >= PIPE_BYTES)
        return 0;
    if (flow->pipe.read < 0 && borrow(&flow->pipe, pool) < 0)
        return -1;
    ssize_t got =
        splice(flow->from, NULL, flow->pipe.write, NULL, PIPE_BYTES - flow->held, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (got < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -1;
    flow->held += (size_t)got;
    flow->ended = got == 0;
    return 1;
}

/* Pipe to socket; the same results. */
static int drain(struct flow *flow) {
    if (flow->held == 0)
        return 0;
    ssize_t sent = splice(flow->pipe.read, NULL, flow->to, NULL, flow->held, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (sent < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -1;
    flow->held -= (size_t)sent;
    return 1;
}

enum flow_state flow_pump(struct flow *flow, struct pipe_pool *pool) {
    for (int round = 0; round < ROUNDS && !flow->done; round++) {
        int filled = fill(flow, pool);
        if (filled < 0)
            return FLOW_FAILED;
        int drained = drain(flow);
        if (drained < 0) {
            /* The receiver is gone, but what it sent before may still be read: only this direction ends. */
            flow_release(flow, pool);
            flow->done = true;
        } else if (flow->ended && flow->held == 0) {
            shutdown(flow->to, SHUT_WR);
            flow->done = true;
        } else if (filled == 0 && drained == 0) {
            break;
        } else if (round == ROUNDS - 1) {
            return FLOW_BUSY;
        }
    }
    if (flow->held == 0)
        flow_release(flow, pool);
    return FLOW_BLOCKED;
}
