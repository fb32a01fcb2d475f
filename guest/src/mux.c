#include "mux.h"

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "log.h"
#include "loop.h"
#include "proto.h"

enum { READ_SIZE = 65536, BACKLOG_MAX = 4 << 20 };

struct frame {
    uint32_t length, stream;
    uint8_t kind, zero[3];
};

static const struct mux_handlers *on;
static struct watch channel = {.fd = -1};

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

static struct {
    uint8_t *bytes;
    size_t start, used, size;
} backlog;

static uint8_t data_frame[FRAME_HEADER_SIZE + MUX_DATA_MAX];

/* ---- input ---- */

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
    if (in.message_size > READ_SIZE) {
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

static void channel_read(void) {
    static uint8_t buffer[READ_SIZE];
    size_t used = 0;
    ssize_t got = 0;
    /* A virtio port gives one host buffer, at most a page, a read. What waits is taken together: it goes on in large
     * pieces, and its reader wakes up once. */
    while (used < sizeof buffer) {
        got = read(channel.fd, buffer + used, sizeof buffer - used);
        if (got <= 0)
            break;
        used += (size_t)got;
    }
    int number = errno;
    if (used)
        mux_feed(buffer, used);
    if (got == 0)
        on->closed(NULL);
    else if (got < 0 && number != EAGAIN && number != EINTR)
        on->closed(strerror(number));
}

/* ---- output ---- */

static void rearm(void) {
    uint32_t events = backlog.used ? EPOLLOUT : 0;
    if (backlog.used < BACKLOG_MAX) /* a host that asks and never listens must not fill the memory */
        events |= EPOLLIN;
    if (channel.fd >= 0)
        loop_watch(&channel, events);
}

static void backlog_append(const uint8_t *bytes, size_t length) {
    if (backlog.start && backlog.start + backlog.used + length > backlog.size) {
        memmove(backlog.bytes, backlog.bytes + backlog.start, backlog.used);
        backlog.start = 0;
    }
    if (backlog.start + backlog.used + length > backlog.size) {
        size_t size = backlog.used + length + READ_SIZE;
        uint8_t *grown = realloc(backlog.bytes, size);
        if (!grown) {
            broken("out of memory");
            return;
        }
        backlog.bytes = grown;
        backlog.size = size;
    }
    memcpy(backlog.bytes + backlog.start + backlog.used, bytes, length);
    backlog.used += length;
}

static void send_bytes(const uint8_t *bytes, size_t length) {
    while (!backlog.used && length && channel.fd >= 0) {
        ssize_t sent = write(channel.fd, bytes, length);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            break; /* full, or broken: then reading tells */
        bytes += sent;
        length -= (size_t)sent;
    }
    if (!length || channel.fd < 0)
        return;
    backlog_append(bytes, length);
    rearm();
}

static void backlog_write(void) {
    while (backlog.used) {
        ssize_t sent = write(channel.fd, backlog.bytes + backlog.start, backlog.used);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            break;
        backlog.start += (size_t)sent;
        backlog.used -= (size_t)sent;
    }
    if (!backlog.used)
        backlog.start = 0;
    rearm();
}

static void frame_fill(uint8_t *head, uint8_t kind, uint32_t stream, size_t length) {
    struct frame frame = {.length = htole32((uint32_t)length), .stream = htole32(stream), .kind = kind};
    memcpy(head, &frame, sizeof frame);
}

static void send_frame(uint8_t kind, uint32_t stream, const void *payload, size_t length) {
    uint8_t small[FRAME_HEADER_SIZE + 4096];
    if (length > sizeof small - FRAME_HEADER_SIZE) {
        frame_fill(small, kind, stream, length);
        send_bytes(small, FRAME_HEADER_SIZE);
        send_bytes(payload, length);
        return;
    }
    frame_fill(small, kind, stream, length);
    if (length)
        memcpy(small + FRAME_HEADER_SIZE, payload, length);
    send_bytes(small, FRAME_HEADER_SIZE + length);
}

void mux_send_message(uint8_t kind, uint32_t number, const char *text, size_t length) {
    for (; length > FRAME_PAYLOAD_MAX; text += FRAME_PAYLOAD_MAX, length -= FRAME_PAYLOAD_MAX)
        send_frame(KIND_PART, number, text, FRAME_PAYLOAD_MAX);
    send_frame(kind, number, text, length);
}

void mux_send_eof(uint32_t stream) {
    send_frame(KIND_EOF, stream, NULL, 0);
}

void mux_send_u32(uint8_t kind, uint32_t stream, uint32_t value) {
    uint32_t word = htole32(value);
    send_frame(kind, stream, &word, sizeof word);
}

uint8_t *mux_data_buffer(void) {
    return data_frame + FRAME_HEADER_SIZE;
}

void mux_send_data(uint32_t stream, size_t length) {
    frame_fill(data_frame, KIND_DATA, stream, length);
    send_bytes(data_frame, FRAME_HEADER_SIZE + length);
}

bool mux_blocked(void) {
    return backlog.used > 0;
}

void mux_flush(int ms) {
    uint64_t end = loop_now() + (uint64_t)ms;
    for (uint64_t now = loop_now(); backlog.used && now < end; now = loop_now()) {
        struct pollfd wait = {.fd = channel.fd, .events = POLLOUT};
        if (poll(&wait, 1, (int)(end - now)) > 0 && (wait.revents & POLLOUT))
            backlog_write();
        else
            return;
    }
}

static void channel_ready(struct watch *watch, uint32_t events) {
    if (events & EPOLLOUT) {
        bool waited = backlog.used > 0;
        backlog_write();
        if (waited && !backlog.used)
            on->writable();
    }
    if (watch->fd >= 0 && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        channel_read();
}

int mux_open(int fd, const struct mux_handlers *handlers) {
    on = handlers;
    channel.fd = fd;
    channel.ready = channel_ready;
    return fd < 0 ? 0 : loop_watch(&channel, EPOLLIN);
}
