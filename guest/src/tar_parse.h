/* Header blocks and pax records of tar_read.c. */
#ifndef TAR_PARSE_H
#define TAR_PARSE_H

#include "tar.h"

/* The member that a header block describes, names into the reader unless it has long ones. 0 or -EBADMSG. */
int tar_parse(struct tar_reader *reader, const uint8_t *block, struct tar_entry *entry);

/* Let the reader's pax records override the fields. 0 or -errno. */
int tar_apply_records(struct tar_reader *reader, struct tar_entry *entry);

/* A text field, terminated; `to` has PATH_MAX bytes. False when it is too long. */
bool tar_text(char *to, const uint8_t *field, size_t width);

#endif
