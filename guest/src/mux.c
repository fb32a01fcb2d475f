#include "mux.h"

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "loop.h"
#include "parse.h"
#include "proto.h"

enum { READ_SIZE = 65536, BACKLOG_MAX = 4 << 20 };

static const struct mux_handlers *on;
static struct watch channel = {.fd = -1};

static struct {
    uint8_t *bytes;
    size_t start, used, size;
} backlog;

static uint8_t data_frame[FRAME_HEADER_SIZE + MUX_DATA_MAX];

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
            on->closed("out of memory");
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
    parse_open(handlers);
    channel.fd = fd;
    channel.ready = channel_ready;
    return fd < 0 ? 0 : loop_watch(&channel, EPOLLIN);
}
