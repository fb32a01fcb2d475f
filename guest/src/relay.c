#include "relay.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "mux.h"
#include "proto.h"
#include "stream.h"

enum { GRACE_MS = 200 };

static struct stream *streams;

struct stream *stream_find(uint32_t number) {
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
    void (*gone)(void) = stream->gone;
    free(stream->pending);
    free(stream);
    if (gone)
        gone();
}

void stream_settle(struct stream *stream) {
    if (stream->sink.fd < 0 && stream->source.fd < 0)
        destroy(stream);
}

bool relay_free(uint32_t number) {
    return number != STREAM_CONTROL && number < STREAM_AGENT_FIRST && !stream_find(number);
}

uint32_t relay_next(void) {
    static uint32_t next = STREAM_AGENT_FIRST;
    while (stream_find(next))
        next = next == UINT32_MAX ? STREAM_AGENT_FIRST : next + 1;
    uint32_t number = next;
    next = next == UINT32_MAX ? STREAM_AGENT_FIRST : next + 1;
    return number;
}

/* ---- guest to host ---- */

static void source_end(struct stream *stream) {
    if (!stream->discard)
        mux_send_eof(stream->number);
    if (stream->deaf && !stream->eof)
        mux_send_u32(KIND_RESET, stream->number, EPIPE);
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
        stream_settle(stream);
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
    struct stream *stream = stream_find(number);
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
    stream_settle(stream);
}

void relay_window(uint32_t number, uint32_t credit) {
    struct stream *stream = stream_find(number);
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
    struct stream *stream = stream_find(number);
    (void)errnum;
    if (!stream)
        return;
    sink_close(stream);
    loop_timer_cancel(&stream->grace);
    loop_close(&stream->source);
    stream_settle(stream);
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
    bool number_taken = number == STREAM_CONTROL || stream_find(number);
    struct stream *stream = number_taken ? NULL : calloc(1, sizeof *stream);
    if (!stream || (sink >= 0 && prepare(sink) < 0) || (source >= 0 && prepare(source) < 0)) {
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

int relay_open_socket(uint32_t number, int fd, void (*gone)(void), struct err *e) {
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (copy < 0) {
        int why = errno;
        close(fd);
        return err_set(e, why, "failed to open stream %u", number);
    }
    int status = relay_open(number, fd, copy, false, e);
    if (status < 0)
        return status;
    struct stream *stream = stream_find(number);
    stream->gone = gone;
    loop_watch(&stream->sink, 0); /* a peer that goes away shows even when there is nothing to write */
    return 0;
}

void relay_reset_all(void) {
    while (streams)
        destroy(streams);
}
