#include "args.h"

#include <errno.h>
#include <stdarg.h>

int args_unpack(const json_t *args, struct err *e, const char *format, ...) {
    json_error_t why;
    va_list arguments;
    va_start(arguments, format);
    int failed = json_vunpack_ex((json_t *)args, &why, 0, format, arguments);
    va_end(arguments);
    return failed ? err_code(e, "invalidArgument", EINVAL, "malformed request: %s", why.text) : 0;
}

const char *args_string(const json_t *object, const char *key, const char *absent) {
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : absent;
}

long long args_integer(const json_t *object, const char *key, long long absent) {
    const json_t *value = json_object_get(object, key);
    return json_is_integer(value) ? json_integer_value(value) : absent;
}

bool args_true(const json_t *object, const char *key) {
    return json_is_true(json_object_get(object, key));
}

const json_t *args_array(const json_t *object, const char *key) {
    static json_t *empty;
    const json_t *value = json_object_get(object, key);
    if (json_is_array(value))
        return value;
    if (!empty)
        empty = json_array();
    return empty;
}
