/*
 * Changes of a directory tree, as inotify(7) tells, for a guest that cannot be told by inotify itself.
 *
 * Each packet on the socket is a batch of records as the agent takes them (guest/include/replay.h), or a warning:
 * WATCH_WARNING and a sentence. The first record is the tree's root: from then on all of it is watched.
 */
#ifndef WATCH_H
#define WATCH_H

#include <stdnoreturn.h>

enum { WATCH_WARNING = 'w' };

/* Watch the directory `root` (or a tree with one file), write to the socket `out`, answer `listener` (pretend.h).
   Ends when the socket's other end does. */
noreturn void watch(const char *root, int out, int listener);

#endif
