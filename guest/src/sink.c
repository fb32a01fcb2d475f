/* Streams from the host to the guest: written as the sink takes, kept up to the window, credited when written. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include "mux.h"
#include "proto.h"
#include "relay.h"
#include "stream.h"

void sink_close(struct stream *stream) {
    loop_close(&stream->sink);
    free(stream->pending);
    stream->pending = NULL;
    stream->used = 0;
}

/* A terminal has no end of file of its own: type the character that means it, where lines are edited at all. */
static void sink_end(struct stream *stream) {
    struct termios mode;
    if (stream->terminal && tcgetattr(stream->sink.fd, &mode) == 0 && (mode.c_lflag & ICANON)) {
        char end = (char)mode.c_cc[VEOF];
        if (write(stream->sink.fd, &end, 1) < 0)
            end = 0; /* its reader is gone, nothing to tell */
    }
    if (stream->gone)
        shutdown(stream->sink.fd, SHUT_WR);
    sink_close(stream);
}

/* Its reader went away. What a socket's peer still has to say is read first, so that the host gets it. */
static void sink_fail(struct stream *stream, int number) {
    sink_close(stream);
    if (stream->gone && stream->source.fd >= 0)
        stream->deaf = true;
    else
        mux_send_u32(KIND_RESET, stream->number, (uint32_t)number);
}

static void give_credit(struct stream *stream, size_t written) {
    stream->consumed += (uint32_t)written;
    if (stream->consumed < WINDOW_INITIAL / 4 || stream->eof)
        return;
    stream->receivable += stream->consumed;
    mux_send_u32(KIND_WINDOW, stream->number, stream->consumed);
    stream->consumed = 0;
}

/* Bytes written, 0 when the sink is full; the sink is closed when its reader went away. */
static size_t sink_write(struct stream *stream, const uint8_t *bytes, size_t length) {
    size_t done = 0;
    while (done < length) {
        ssize_t wrote = write(stream->sink.fd, bytes + done, length - done);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote < 0 && errno == EAGAIN)
            break;
        if (wrote < 0) {
            sink_fail(stream, errno);
            return 0;
        }
        done += (size_t)wrote;
    }
    give_credit(stream, done);
    return done;
}

static void sink_keep(struct stream *stream, const uint8_t *bytes, size_t length) {
    if (!stream->pending)
        stream->pending = malloc(WINDOW_INITIAL);
    if (!stream->pending) {
        mux_send_u32(KIND_RESET, stream->number, ENOMEM);
        sink_close(stream);
        return;
    }
    size_t end = (stream->start + stream->used) % WINDOW_INITIAL;
    size_t first = WINDOW_INITIAL - end < length ? WINDOW_INITIAL - end : length;
    memcpy(stream->pending + end, bytes, first);
    memcpy(stream->pending, bytes + first, length - first);
    stream->used += length;
    loop_watch(&stream->sink, EPOLLOUT);
}

void sink_ready(struct watch *watch, uint32_t events) {
    struct stream *stream = container_of(watch, struct stream, sink);
    if (!stream->used && (events & (EPOLLHUP | EPOLLERR)))
        sink_fail(stream, EPIPE);
    while (stream->used && stream->sink.fd >= 0) {
        size_t run = WINDOW_INITIAL - stream->start;
        size_t wrote = sink_write(stream, stream->pending + stream->start, run < stream->used ? run : stream->used);
        if (!wrote)
            break;
        stream->start = (stream->start + wrote) % WINDOW_INITIAL;
        stream->used -= wrote;
    }
    if (stream->sink.fd >= 0 && !stream->used) {
        if (stream->gone)
            loop_watch(&stream->sink, 0);
        else
            loop_unwatch(&stream->sink);
        free(stream->pending);
        stream->pending = NULL;
        stream->start = 0;
        if (stream->eof)
            sink_end(stream);
    }
    stream_settle(stream);
}

void relay_data(uint32_t number, const uint8_t *bytes, size_t length) {
    struct stream *stream = stream_find(number);
    if (!stream || (stream->sink.fd < 0 && !stream->deaf))
        return;
    if (stream->eof || length > stream->receivable) {
        mux_send_u32(KIND_RESET, number, EPROTO);
        if (stream->gone)
            loop_close(&stream->source);
        sink_close(stream);
        stream_settle(stream);
        return;
    }
    stream->receivable -= (uint32_t)length;
    if (stream->deaf) {
        give_credit(stream, length);
        return;
    }
    size_t wrote = stream->used ? 0 : sink_write(stream, bytes, length);
    if (stream->sink.fd >= 0 && wrote < length)
        sink_keep(stream, bytes + wrote, length - wrote);
    stream_settle(stream);
}

void relay_eof(uint32_t number) {
    struct stream *stream = stream_find(number);
    if (!stream || stream->sink.fd < 0 || stream->eof)
        return;
    stream->eof = true;
    if (!stream->used)
        sink_end(stream);
    stream_settle(stream);
}
