/* The agent's log: the VM's console (which is the boot log), or standard error as an ordinary process. */
#ifndef LOG_H
#define LOG_H

/* Write to `fd` from now on (-1: nowhere). */
void log_to(int fd);

/* One line, without its newline. */
void log_line(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
