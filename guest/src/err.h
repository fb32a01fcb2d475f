/* Errors: a negative errno to the caller, and a sentence for the user in a struct err. */
#ifndef ERR_H
#define ERR_H

struct err {
    int number;       /* errno */
    int exit_code;    /* 126 or 127 when a program cannot be run, else 0 */
    const char *code; /* error code of the host's closed set; NULL = from the errno */
    char text[480];
};

/* Fill `e`, append the errno's text, return -number. */
int err_set(struct err *e, int number, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Like err_set, with a code of its own and without the errno's text. */
int err_code(struct err *e, const char *code, int number, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* The code of the closed set that fits: `e->code` or what the errno implies. */
const char *err_name(const struct err *e);

#endif
