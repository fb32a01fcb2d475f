/* Frames over the channel (include/proto.h): cuts input into messages and stream bytes, queues output. */
#ifndef MUX_H
#define MUX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A whole DATA frame is then 64 KiB: two full buffers of the virtio port driver. */
enum { MUX_DATA_MAX = 65524 };

/* Who gets what arrives. Texts are not terminated; pointers hold during the call only. */
struct mux_handlers {
    void (*hello)(const char *text, size_t length);
    void (*request)(uint32_t number, const char *text, size_t length);
    void (*data)(uint32_t stream, const uint8_t *bytes, size_t length);
    void (*eof)(uint32_t stream);
    void (*window)(uint32_t stream, uint32_t credit);
    void (*reset)(uint32_t stream, uint32_t number);
    void (*writable)(void);          /* the output backlog is gone */
    void (*closed)(const char *why); /* the channel ended; NULL = the host closed it */
};

/* Take over `fd` (made non-blocking by the caller). 0 or -errno. */
int mux_open(int fd, const struct mux_handlers *handlers);

/* Parse `length` bytes of input; false after a broken frame. For the reader and for the fuzzer. */
bool mux_feed(const uint8_t *bytes, size_t length);

/* Send a JSON message, in parts if need be. */
void mux_send_message(uint8_t kind, uint32_t number, const char *text, size_t length);

/* Send a frame with no payload (WINDOW and RESET: a u32). */
void mux_send_eof(uint32_t stream);
void mux_send_u32(uint8_t kind, uint32_t stream, uint32_t value);

/* Where to put up to MUX_DATA_MAX bytes, and sending them: no copy unless the channel is full. */
uint8_t *mux_data_buffer(void);
void mux_send_data(uint32_t stream, size_t length);

/* Whether output waits: sources must not be read now. */
bool mux_blocked(void);

/* Write what waits, for at most `ms` (before the power goes). */
void mux_flush(int ms);

/* Forget half-read frames; tests and fuzzing. */
void mux_restart(void);

#endif
