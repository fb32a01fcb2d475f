/*
 * Changes that the host made in a share, on their way to the guest: records `kind path NUL`, the path relative to the
 * share, which itself is ".".
 *
 * A guest's kernel raises inotify(7) events for what is done in the guest. So that it raises them for what the host
 * did, the agent sets the file's times to ones that the host's side knows (native/src/pretend.h): it does nothing and
 * reports success.
 */
#ifndef REPLAY_H
#define REPLAY_H

#define REPLAY_MODIFIED 'm' /* the file is new or has new contents */
#define REPLAY_CHANGED 'a'  /* its attributes, or the entries of the directory, are not the same */

/* No file has this modification time: the year is 248425, and file systems of the host do not go that far. */
#define PRETEND_SECONDS 7777777777777LL
#define PRETEND_NANOSECONDS 777777777L

#endif
