/* Users and groups, resolved in the container's own passwd(5) and group(5): `/etc` as the caller sees it. */
#ifndef USER_H
#define USER_H

#include <jansson.h>
#include <limits.h>
#include <sys/types.h>

#include "err.h"

enum { GROUPS_MAX = 256 };

struct user {
    uid_t uid;
    gid_t gid;
    gid_t groups[GROUPS_MAX]; /* supplementary; the primary is among them */
    int group_count;
    char home[PATH_MAX];
};

/* `process`: a ProcessConfiguration (user, supplementalGroups). */
int user_resolve(const json_t *process, struct user *user, struct err *e);

#endif
