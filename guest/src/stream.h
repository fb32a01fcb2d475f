/* A stream's state, shared by its two halves: sink.c (host to guest) and relay.c (the rest). */
#ifndef STREAM_H
#define STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "loop.h"

struct stream {
    uint32_t number;
    struct stream *next;
    bool terminal;
    void (*gone)(void); /* of a socket, whose halves are two descriptors of it: called when both are over */

    struct watch sink;   /* host -> guest */
    uint8_t *pending;    /* WINDOW_INITIAL bytes once needed, used as a ring */
    size_t start, used;  /* of the ring */
    uint32_t receivable; /* credit that the host still has */
    uint32_t consumed;   /* bytes written to the sink, credit not yet given back */
    bool eof;            /* the host sends no more */
    bool deaf;           /* a socket whose peer takes no more: dropped until it has said all it has to say */

    struct watch source; /* guest -> host */
    uint32_t sendable;   /* credit that we still have */
    bool discard;        /* the host was told EOF or does not want it: read into nothing */
    bool finishing;
    size_t owed; /* bytes that were in the pipe when the process ended */
    struct timer grace;
};

struct stream *stream_find(uint32_t number);

/* Destroy it when both halves are over. */
void stream_settle(struct stream *stream);

/* End the sink: what waits for it is lost. */
void sink_close(struct stream *stream);

/* Callback of `sink`: it takes bytes again. */
void sink_ready(struct watch *watch, uint32_t events);

#endif
