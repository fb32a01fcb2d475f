/*
 * Where there is no libFuzzer: random hosts, mostly well-formed frames with some bytes changed, for a number of
 * seconds.
 *
 *     fuzz-frames [SECONDS [SEED]]
 *
 * The seed is printed before the first input: the same seed gives the same inputs.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "proto.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

enum { INPUT_MAX = 1 << 20 };

static uint64_t state;

static uint32_t random_below(uint32_t limit) { /* xorshift64* */
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (uint32_t)((state * UINT64_C(2685821657736338717)) >> 32) % limit;
}

static size_t one_frame(uint8_t *at) {
    static const uint8_t kinds[] = {KIND_HELLO, KIND_REQUEST, KIND_REQUEST, KIND_DATA, KIND_DATA, KIND_DATA,
                                    KIND_EOF,   KIND_WINDOW,  KIND_RESET,   KIND_PART, KIND_REPLY};
    uint8_t kind = kinds[random_below(sizeof kinds)];
    uint32_t stream = kind == KIND_HELLO ? 0 : random_below(6), length = random_below(8) ? random_below(64) : 65536;
    if (kind == KIND_EOF)
        length = 0;
    if (kind == KIND_WINDOW || kind == KIND_RESET)
        length = 4;
    memcpy(at, &length, 4);
    memcpy(at + 4, &stream, 4);
    at[8] = kind;
    memset(at + 9, 0, 3);
    for (uint32_t i = 0; i < length; i++)
        at[FRAME_HEADER_SIZE + i] = (uint8_t)random_below(256);
    if (random_below(64) == 0)
        at[random_below(FRAME_HEADER_SIZE)] ^= (uint8_t)(1 << random_below(8));
    return FRAME_HEADER_SIZE + length;
}

int main(int argc, char **argv) {
    static uint8_t input[INPUT_MAX];
    long seconds = argc > 1 ? atol(argv[1]) : 10, inputs = 0;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : (uint64_t)time(NULL) * 2654435761U;
    time_t end = time(NULL) + seconds;
    state = seed | 1;
    printf("seed %#llx\n", (unsigned long long)seed);
    fflush(stdout);
    for (; time(NULL) < end; inputs++) {
        size_t used = 1;
        input[0] = (uint8_t)random_below(256);
        for (uint32_t frames = random_below(40); frames && used + 2 * FRAME_PAYLOAD_MAX < sizeof input; frames--)
            used += one_frame(input + used);
        LLVMFuzzerTestOneInput(input, used - random_below(used < 16 ? (uint32_t)used : 16));
    }
    printf("%ld inputs\n", inputs);
    return 0;
}
