/* Streams of the channel joined to descriptors of the guest, with credit in both directions (include/proto.h). */
#ifndef RELAY_H
#define RELAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

/*
 * Open `stream`. Bytes from the host go to `sink`, bytes read from `source` go to the host; -1 = that half is closed
 * from the start. Both descriptors belong to the stream from now on, also on failure, and are made non-blocking.
 */
int relay_open(uint32_t stream, int sink, int source, bool terminal, struct err *e);

/*
 * The same with a connected stream socket in both directions, which is shut down for writing when the host sends EOF.
 * The descriptor belongs to the stream, also on failure; `gone` is called when the stream is over.
 */
int relay_open_socket(uint32_t stream, int fd, void (*gone)(void), struct err *e);

/* Whether the host may open the number: not 0, not the agent's, not in use. */
bool relay_free(uint32_t stream);

/* A number that the agent may open. */
uint32_t relay_next(void);

/* The process behind it ended: no more input; output ends when what was written is read, others that hold the
 * descriptor get a short grace and are then read into nothing. */
void relay_finish(uint32_t stream);

/* All streams are void (a new HELLO). */
void relay_reset_all(void);

/* Handlers of mux.h. */
void relay_data(uint32_t stream, const uint8_t *bytes, size_t length);
void relay_eof(uint32_t stream);
void relay_window(uint32_t stream, uint32_t credit);
void relay_reset(uint32_t stream, uint32_t number);
void relay_writable(void);

#endif
