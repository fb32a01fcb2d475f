/*
 * The beginning of what a client sends, offered to the container until its kernel has acknowledged it.
 *
 * When a listener's queue is full, Linux holds a connection back that its caller already believes to be open, forgets
 * it after some seconds, and resets the caller when that sends again. Nothing of it has reached the program then, and
 * what was offered is still to be read from the client: the container can be called once more, as if nothing had
 * happened.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct offer {
    bool made;       /* of `bytes` bytes, or with none of the client's end of file */
    size_t bytes;    /* sent to the container, and not yet taken from the client */
    uint32_t resent; /* segments when it was made: repeated calls, until one was answered */
};

enum offer_state {
    OFFER_WAITS,  /* for an event */
    OFFER_TAKEN,  /* the container has it, or has said something itself: what follows is for flows */
    OFFER_LOST,   /* the container forgot the connection before it took anything */
    OFFER_FAILED, /* it ended otherwise */
};

/* Have a connection that is about to be opened tell of what offer_pump waits for. */
void offer_prepare(int target);

/* Whether EPOLLERR of `target` only told of an acknowledgement, which is noted; else the connection has failed. */
bool offer_heard(int target);

/* Make the offer when there is something to offer, and see what became of it; `target` is connected. */
enum offer_state offer_pump(struct offer *offer, int client, int target);
