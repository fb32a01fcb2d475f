#include "parse.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "proto.h"

enum { KEEP = 65536 }; /* bytes of message buffer that are kept for the next one */

static const struct mux_handlers *on;

static struct {
    uint8_t head[FRAME_HEADER_SIZE];
    size_t head_used;
    struct frame frame;
    size_t left; /* payload bytes still to come */
    uint8_t word[4];
    char *message; /* HELLO, REQUEST and its PARTs */
    size_t message_used, message_size;
    bool broken;
} in;

static void broken(const char *why) {
    in.broken = true;
    on->closed(why);
}

static bool message_append(const uint8_t *bytes, size_t length) {
    size_t wanted = in.message_used + length;
    if (wanted > MESSAGE_MAX)
        return false;
    if (wanted > in.message_size) {
        size_t size = wanted < 4096 ? 4096 : wanted * 2;
        char *grown = realloc(in.message, size);
        if (!grown)
            return false;
        in.message = grown;
        in.message_size = size;
    }
    memcpy(in.message + in.message_used, bytes, length);
    in.message_used += length;
    return true;
}

static void message_forget(void) {
    if (in.message_size > KEEP) {
        free(in.message);
        in.message = NULL;
        in.message_size = 0;
    }
    in.message_used = 0;
}

/* NULL, or what is wrong with the header just read. */
static const char *frame_check(const struct frame *frame) {
    if (frame->zero[0] || frame->zero[1] || frame->zero[2])
        return "frame padding is not zero";
    if (frame->length > FRAME_PAYLOAD_MAX)
        return "frame too long";
    switch (frame->kind) {
    case KIND_HELLO:
        return frame->stream ? "HELLO on a stream" : NULL;
    case KIND_REQUEST:
    case KIND_PART:
        return NULL;
    case KIND_DATA:
        return frame->stream ? NULL : "DATA on stream 0";
    case KIND_EOF:
        return frame->stream && !frame->length ? NULL : "malformed EOF";
    case KIND_WINDOW:
    case KIND_RESET:
        return frame->stream && frame->length == 4 ? NULL : "malformed WINDOW or RESET";
    default:
        return "unknown frame kind";
    }
}

static void frame_done(void) {
    uint32_t word;
    switch (in.frame.kind) {
    case KIND_HELLO:
        on->hello(in.message, in.message_used);
        message_forget();
        break;
    case KIND_REQUEST:
        on->request(in.frame.stream, in.message, in.message_used);
        message_forget();
        break;
    case KIND_EOF:
        on->eof(in.frame.stream);
        break;
    case KIND_WINDOW:
    case KIND_RESET:
        memcpy(&word, in.word, 4);
        (in.frame.kind == KIND_WINDOW ? on->window : on->reset)(in.frame.stream, le32toh(word));
        break;
    default:
        break;
    }
}

static void frame_payload(const uint8_t *bytes, size_t length) {
    switch (in.frame.kind) {
    case KIND_DATA:
        on->data(in.frame.stream, bytes, length);
        break;
    case KIND_WINDOW:
    case KIND_RESET:
        memcpy(in.word + 4 - in.left, bytes, length);
        break;
    default:
        if (!message_append(bytes, length))
            broken("message too long");
    }
}

static size_t frame_head(const uint8_t *bytes, size_t length) {
    size_t take = FRAME_HEADER_SIZE - in.head_used;
    if (take > length)
        take = length;
    memcpy(in.head + in.head_used, bytes, take);
    in.head_used += take;
    if (in.head_used < FRAME_HEADER_SIZE)
        return take;
    memcpy(&in.frame, in.head, FRAME_HEADER_SIZE);
    in.frame.length = le32toh(in.frame.length);
    in.frame.stream = le32toh(in.frame.stream);
    in.left = in.frame.length;
    const char *why = frame_check(&in.frame);
    if (why)
        broken(why);
    return take;
}

void parse_open(const struct mux_handlers *handlers) {
    on = handlers;
}

bool mux_feed(const uint8_t *bytes, size_t length) {
    while (length && !in.broken) {
        if (in.head_used < FRAME_HEADER_SIZE) {
            size_t took = frame_head(bytes, length);
            bytes += took;
            length -= took;
        } else {
            size_t take = in.left < length ? in.left : length;
            frame_payload(bytes, take);
            in.left -= take;
            bytes += take;
            length -= take;
        }
        if (in.head_used == FRAME_HEADER_SIZE && in.left == 0 && !in.broken) {
            in.head_used = 0;
            frame_done();
        }
    }
    return !in.broken;
}

void mux_restart(void) {
    free(in.message);
    memset(&in, 0, sizeof in);
}
