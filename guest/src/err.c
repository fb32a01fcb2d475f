#include "err.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

__attribute__((format(printf, 3, 0))) static int fill(struct err *e, int number, const char *format,
                                                      va_list arguments) {
    e->number = number;
    e->exit_code = 0;
    e->code = NULL;
    vsnprintf(e->text, sizeof e->text, format, arguments);
    return -number;
}

int err_set(struct err *e, int number, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fill(e, number, format, arguments);
    va_end(arguments);
    size_t used = strlen(e->text);
    snprintf(e->text + used, sizeof e->text - used, ": %s", strerror(number));
    return -number;
}

int err_code(struct err *e, const char *code, int number, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fill(e, number, format, arguments);
    va_end(arguments);
    e->code = code;
    return -number;
}

const char *err_name(const struct err *e) {
    if (e->code)
        return e->code;
    switch (e->number) {
    case ENOENT:
    case ESRCH:
    case ENODEV:
        return "notFound";
    case EEXIST:
        return "exists";
    case EINVAL:
    case ENAMETOOLONG:
    case ENOTDIR:
        return "invalidArgument";
    case EBUSY:
    case EALREADY:
        return "invalidState";
    case ENOSYS:
    case EOPNOTSUPP:
        return "unsupported";
    case ETIMEDOUT:
        return "timeout";
    default:
        return "internalError";
    }
}
