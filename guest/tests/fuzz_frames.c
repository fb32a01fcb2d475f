/* libFuzzer: whatever a host sends, the frame parser and the streams behind it keep their memory in order. */
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log.h"
#include "loop.h"
#include "mux.h"
#include "relay.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void message(const char *text, size_t length) {
    char sum = 0;
    for (size_t i = 0; i < length; i++) /* touch every byte that is claimed to be there */
        sum ^= text[i];
    __asm__ volatile("" : : "r"(sum)); /* the sum must not be optimised away */
}

static void gone(void) {
}

/* A socket whose peer has gone, or one that never reads. */
static void open_socket(uint32_t number) {
    static int silent = -1;
    struct err e;
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return;
    if (number & 1)
        close(pair[0]);
    else if (silent >= 0)
        close(silent);
    if (!(number & 1))
        silent = pair[0];
    relay_open_socket(number, pair[1], gone, &e);
}

static void request(uint32_t number, const char *text, size_t length) {
    struct err e;
    int pair[2];
    message(text, length);
    if (!relay_free(number))
        return;
    if (number & 4) {
        open_socket(number);
        return;
    }
    if (pipe2(pair, O_CLOEXEC) < 0)
        return;
    /* a reader that never reads for some, none at all for others */
    if (number & 1)
        close(pair[0]);
    relay_open(number, pair[1], number & 1 ? -1 : pair[0], number & 2, &e);
}

static void writable(void) {
}

static void closed(const char *why) {
    (void)why;
}

static const struct mux_handlers handlers = {
    .hello = message,
    .request = request,
    .data = relay_data,
    .eof = relay_eof,
    .window = relay_window,
    .reset = relay_reset,
    .writable = writable,
    .closed = closed,
};

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    static int ready;
    if (!ready++) {
        log_to(-1);
        signal(SIGPIPE, SIG_IGN);
        if (loop_init() < 0)
            abort();
    }
    mux_open(-1, &handlers);
    /* the first byte says how the channel cuts the rest into reads */
    size_t step = length ? (size_t)bytes[0] + 1 : 1;
    for (size_t at = length ? 1 : 0; at < length; at += step)
        if (!mux_feed(bytes + at, length - at < step ? length - at : step))
            break;
    relay_reset_all();
    mux_restart();
    return 0;
}
