/* Capabilities (capabilities(7)): a set by name, put in force. */
#ifndef CAPS_H
#define CAPS_H

#include <jansson.h>
#include <stdint.h>

#include "err.h"

/* Bits of an array of names as `CAP_CHOWN`; not an array: the default set. */
int caps_parse(const json_t *names, uint64_t *set, struct err *e);

/* Leave nothing but `set` in the bounding and ambient sets. Before the user changes. */
int caps_bound(uint64_t set, struct err *e);

/* Permitted and effective = `set`, nothing inheritable. After root stayed root. */
int caps_apply(uint64_t set, struct err *e);

#endif
