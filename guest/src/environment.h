/* A program's argument and environment vectors (execve(2)). */
#ifndef ENVIRONMENT_H
#define ENVIRONMENT_H

#include <jansson.h>
#include <stdbool.h>

/* `name` and the ProcessConfiguration's arguments; NULL without memory. */
char **environment_arguments(const char *name, const json_t *process);

/* The ProcessConfiguration's environment; HOME, PATH and (with a terminal) TERM when absent. */
char **environment_build(const json_t *process, const char *home, bool terminal);

/* Value of a variable, or NULL. */
const char *environment_get(char **environment, const char *name);

#endif
