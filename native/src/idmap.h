/* Ids of the share: what belongs to its owner belongs to another user inside, and the other way round. */
#ifndef IDMAP_H
#define IDMAP_H

enum { IDMAP_NONE = -1 };

/*
 * Enter a user namespace (user_namespaces(7)) in which the owner of `source` is `uid`, its group `gid`, each unless
 * IDMAP_NONE; whoever was `uid` before is the owner's id then. All other ids stay the same. Ends the process when it
 * cannot.
 */
void idmap_enter(const char *source, long long uid, long long gid);

#endif
