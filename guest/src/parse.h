/* The input half of the mux: a byte stream cut into messages and stream bytes, each header checked before use. */
#ifndef PARSE_H
#define PARSE_H

#include <stdint.h>

#include "mux.h"

struct frame {
    uint32_t length, stream;
    uint8_t kind, zero[3];
};

/* Who gets what `mux_feed` finds. */
void parse_open(const struct mux_handlers *handlers);

#endif
