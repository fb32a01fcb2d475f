#include "environment.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "args.h"

/* Strings of a JSON array as a vector, with room for `more` at its `offset` and at its end. */
static char **vector(const json_t *array, size_t before, size_t after) {
    const json_t *item;
    size_t index, count = before;
    char **result = calloc(before + json_array_size(array) + after + 1, sizeof *result);
    if (!result)
        return NULL;
    json_array_foreach(array, index, item) {
        const char *text = json_string_value(item);
        if (text)
            result[count++] = (char *)text;
    }
    return result;
}

char **environment_arguments(const char *name, const json_t *process) {
    char **result = vector(args_array(process, "arguments"), 1, 0);
    if (result)
        result[0] = (char *)name;
    return result;
}

const char *environment_get(char **environment, const char *name) {
    size_t length = strlen(name);
    for (; *environment; environment++)
        if (strncmp(*environment, name, length) == 0 && (*environment)[length] == '=')
            return *environment + length + 1;
    return NULL;
}

static bool add_absent(char **environment, const char *name, const char *value) {
    if (environment_get(environment, name))
        return true;
    while (*environment)
        environment++;
    return asprintf(environment, "%s=%s", name, value) >= 0;
}

char **environment_build(const json_t *process, const char *home, bool terminal) {
    char **result = vector(args_array(process, "environment"), 0, 3);
    bool whole = result && add_absent(result, "PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin") &&
                 add_absent(result, "HOME", home) && (!terminal || add_absent(result, "TERM", "xterm"));
    return whole ? result : NULL;
}
