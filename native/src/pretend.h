/*
 * A change of a file's times that is none: the program's utimensat(2) with the modification time PRETEND_SECONDS,
 * PRETEND_NANOSECONDS (guest/include/replay.h) succeeds and does nothing.
 */
#ifndef PRETEND_H
#define PRETEND_H

/* Filter this process and what it becomes (seccomp(2)); the descriptor that its calls are told to, or -errno. */
int pretend_install(void);

/* Answer one call; waits for it. 0 or -errno. */
int pretend_answer(int listener);

#endif
