/* One way to fail: a sentence with the reason on standard error, and exit status 1. */
#pragma once

_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same for a negative errno. */
_Noreturn void fail_errno(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));
