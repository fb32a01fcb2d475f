#include "relay.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "loop.h"
#include "mux.h"
#include "proto.h"

enum { GRACE_MS = 200 };

struct stream {
    uint32_t number;
    struct stream *next;
    bool terminal;

    struct watch sink;   /* host -> guest */
    uint8_t *pending;    /* WINDOW_INITIAL bytes once needed, used as a ring */
    size_t start, used;  /* of the ring */
    uint32_t receivable; /* credit that the host still has */
    uint32_t consumed;   /* bytes written to the sink, credit not yet given back */
    bool eof;            /* the host sends no more */

    struct watch source; /* guest -> host */
    uint32_t sendable;   /* credit that we still have */
    bool discard;        /* the host was told EOF or does not want it: read into nothing */
    bool finishing;
    size_t owed; /* bytes that were in the pipe when the process ended */
    struct timer grace;
};

static struct stream *streams;

static struct stream *find(uint32_t number) {
    for (struct stream *stream = streams; stream; stream = stream->next)
        if (stream->number == number)
            return stream;
    return NULL;
}

static void destroy(struct stream *stream) {
    for (struct stream **link = &streams; *link; link = &(*link)->next)
        if (*link == stream) {
            *link = stream->next;
            break;
        }
    loop_timer_cancel(&stream->grace);
    loop_close(&stream->sink);
    loop_close(&stream->source);
    free(stream->pending);
    free(stream);
}

/* True when it was destroyed: both halves are over. */
static bool settle(struct stream *stream) {
    if (stream->sink.fd >= 0 || stream->source.fd >= 0)
        return false;
    destroy(stream);
    return true;
}

bool relay_free(uint32_t number) {
    return number != STREAM_CONTROL && number < STREAM_AGENT_FIRST && !find(number);
}

/* ---- host to guest ---- */

static void sink_close(struct stream *stream) {
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
    sink_close(stream);
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
            mux_send_u32(KIND_RESET, stream->number, (uint32_t)errno);
            sink_close(stream);
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

static void sink_ready(struct watch *watch, uint32_t events) {
    struct stream *stream = container_of(watch, struct stream, sink);
    (void)events;
    while (stream->used && stream->sink.fd >= 0) {
        size_t run = WINDOW_INITIAL - stream->start;
        size_t wrote = sink_write(stream, stream->pending + stream->start, run < stream->used ? run : stream->used);
        if (!wrote)
            break;
        stream->start = (stream->start + wrote) % WINDOW_INITIAL;
        stream->used -= wrote;
    }
    if (stream->sink.fd >= 0 && !stream->used) {
        loop_unwatch(&stream->sink);
        free(stream->pending);
        stream->pending = NULL;
        stream->start = 0;
        if (stream->eof)
            sink_end(stream);
    }
    settle(stream);
}

void relay_data(uint32_t number, const uint8_t *bytes, size_t length) {
    struct stream *stream = find(number);
    if (!stream || stream->sink.fd < 0)
        return;
    if (stream->eof || length > stream->receivable) {
        mux_send_u32(KIND_RESET, number, EPROTO);
        sink_close(stream);
        settle(stream);
        return;
    }
    stream->receivable -= (uint32_t)length;
    size_t wrote = stream->used ? 0 : sink_write(stream, bytes, length);
    if (stream->sink.fd >= 0 && wrote < length)
        sink_keep(stream, bytes + wrote, length - wrote);
    settle(stream);
}

void relay_eof(uint32_t number) {
    struct stream *stream = find(number);
    if (!stream || stream->sink.fd < 0 || stream->eof)
        return;
    stream->eof = true;
    if (!stream->used)
        sink_end(stream);
    settle(stream);
}

/* ---- guest to host ---- */

static void source_end(struct stream *stream) {
    if (!stream->discard)
        mux_send_eof(stream->number);
    loop_timer_cancel(&stream->grace);
    loop_close(&stream->source);
}

static bool source_waits(const struct stream *stream) {
    return !stream->discard && (stream->sendable == 0 || mux_blocked());
}

static void source_arm(struct stream *stream) {
    if (stream->source.fd >= 0 && !stream->source.armed && !source_waits(stream))
        loop_watch(&stream->source, EPOLLIN);
}

static void source_ready(struct watch *watch, uint32_t events) {
    struct stream *stream = container_of(watch, struct stream, source);
    (void)events;
    if (source_waits(stream)) {
        loop_unwatch(watch);
        return;
    }
    size_t most = MUX_DATA_MAX;
    if (!stream->discard && most > stream->sendable)
        most = stream->sendable;
    ssize_t got = read(watch->fd, mux_data_buffer(), most);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) { /* end of file; EIO from a terminal whose last user is gone */
        source_end(stream);
        settle(stream);
        return;
    }
    stream->owed -= (size_t)got < stream->owed ? (size_t)got : stream->owed;
    if (stream->discard)
        return;
    stream->sendable -= (uint32_t)got;
    mux_send_data(stream->number, (size_t)got);
}

/* Others still hold the other end: the host waits no longer; reading goes on so that they do not die of SIGPIPE. */
static void grace_over(struct timer *timer) {
    struct stream *stream = container_of(timer, struct stream, grace);
    if (stream->owed || !stream->source.armed) {
        loop_timer(timer, GRACE_MS);
        return;
    }
    mux_send_eof(stream->number);
    stream->discard = true;
}

void relay_finish(uint32_t number) {
    struct stream *stream = find(number);
    if (!stream)
        return;
    if (stream->sink.fd >= 0) {
        if (!stream->eof)
            mux_send_u32(KIND_RESET, number, EPIPE);
        sink_close(stream);
    }
    if (stream->source.fd >= 0 && !stream->discard && !stream->finishing) {
        int waiting = 0;
        stream->finishing = true;
        stream->owed = ioctl(stream->source.fd, FIONREAD, &waiting) == 0 ? (size_t)waiting : 0;
        loop_timer(&stream->grace, GRACE_MS);
    }
    settle(stream);
}

void relay_window(uint32_t number, uint32_t credit) {
    struct stream *stream = find(number);
    if (!stream)
        return;
    if (credit > WINDOW_MAX || stream->sendable > WINDOW_MAX - credit) {
        relay_reset(number, EPROTO);
        mux_send_u32(KIND_RESET, number, EPROTO);
        return;
    }
    stream->sendable += credit;
    source_arm(stream);
}

void relay_reset(uint32_t number, uint32_t errnum) {
    struct stream *stream = find(number);
    (void)errnum;
    if (!stream)
        return;
    sink_close(stream);
    loop_timer_cancel(&stream->grace);
    loop_close(&stream->source);
    settle(stream);
}

void relay_writable(void) {
    for (struct stream *stream = streams; stream && !mux_blocked(); stream = stream->next)
        source_arm(stream);
}

/* ---- both ---- */

static int prepare(int fd) {
    int flags = fcntl(fd, F_GETFL);
    return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ? -errno : 0;
}

int relay_open(uint32_t number, int sink, int source, bool terminal, struct err *e) {
    struct stream *stream = relay_free(number) ? calloc(1, sizeof *stream) : NULL;
    if (!stream || (sink >= 0 && prepare(sink) < 0) || (source >= 0 && prepare(source) < 0)) {
        int number_taken = !relay_free(number);
        free(stream);
        if (sink >= 0)
            close(sink);
        if (source >= 0)
            close(source);
        return err_set(e, number_taken ? EINVAL : ENOMEM, "failed to open stream %u", number);
    }
    stream->number = number;
    stream->terminal = terminal;
    stream->sink = (struct watch){.fd = sink, .ready = sink_ready};
    stream->source = (struct watch){.fd = source, .ready = source_ready};
    stream->receivable = stream->sendable = WINDOW_INITIAL;
    stream->grace.fire = grace_over;
    stream->next = streams;
    streams = stream;
    source_arm(stream);
    return 0;
}

void relay_reset_all(void) {
    while (streams)
        destroy(streams);
}
