#include "log.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

static int log_fd = STDERR_FILENO;

void log_to(int fd) {
    log_fd = fd;
}

void log_line(const char *format, ...) {
    char line[600];
    va_list arguments;
    if (log_fd < 0)
        return;
    int used = snprintf(line, sizeof line, "container-agent: ");
    va_start(arguments, format);
    int more = vsnprintf(line + used, sizeof line - (size_t)used - 1, format, arguments);
    va_end(arguments);
    if (more < 0)
        return;
    used += more;
    if (used > (int)sizeof line - 2)
        used = (int)sizeof line - 2;
    line[used++] = '\n';
    if (write(log_fd, line, (size_t)used) < 0)
        return; /* there is nowhere to complain to */
}
