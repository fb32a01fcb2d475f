#pragma once

#include <stdint.h>

/* Milliseconds of a clock that only goes forward. */
int64_t now_ms(void);
