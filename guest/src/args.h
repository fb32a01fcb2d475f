/* Reading the JSON arguments of a request. */
#ifndef ARGS_H
#define ARGS_H

#include <jansson.h>
#include <stdbool.h>

#include "err.h"

/* json_unpack with its complaint as invalidArgument. */
int args_unpack(const json_t *args, struct err *e, const char *format, ...);

/* A member, or the default when it is absent or of another type. */
const char *args_string(const json_t *object, const char *key, const char *absent);
long long args_integer(const json_t *object, const char *key, long long absent);
bool args_true(const json_t *object, const char *key);

/* A member that is an array; else an empty one (borrowed, never NULL). */
const json_t *args_array(const json_t *object, const char *key);

#endif
