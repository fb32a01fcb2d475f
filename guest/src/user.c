#include "user.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "args.h"

struct line {
    FILE *file;
    char *text;
    size_t size;
};

/* The next line cut at its colons into `count` fields; false at the end. Lines with fewer fields are skipped. */
static bool next(struct line *line, char **fields, int count) {
    while (line->file && getline(&line->text, &line->size, line->file) >= 0) {
        char *rest = line->text;
        int found = 0;
        line->text[strcspn(line->text, "\n")] = 0;
        while (found < count && (fields[found] = strsep(&rest, ":")))
            found++;
        if (found == count && fields[0][0] != '#')
            return true;
    }
    return false;
}

static void finish(struct line *line) {
    if (line->file)
        fclose(line->file);
    free(line->text);
}

static bool number(const char *text, long long *value) {
    char *end;
    if (!*text || strspn(text, "0123456789") != strlen(text))
        return false;
    errno = 0;
    *value = strtoll(text, &end, 10);
    return errno == 0 && *value <= INT_MAX;
}

/* Fill from the passwd entry of `name` or `uid`; `login` gets its name ("" when there is no entry). */
static bool passwd(const char *name, long long uid, struct user *user, char *login, size_t size) {
    struct line line = {.file = fopen("/etc/passwd", "re")};
    char *field[7];
    bool found = false;
    while (!found && next(&line, field, 6)) {
        long long id, gid;
        if (!number(field[2], &id) || !number(field[3], &gid))
            continue;
        if (name ? strcmp(field[0], name) != 0 : id != uid)
            continue;
        user->uid = (uid_t)id;
        user->gid = (gid_t)gid;
        snprintf(user->home, sizeof user->home, "%s", field[5]);
        snprintf(login, size, "%s", field[0]);
        found = true;
    }
    finish(&line);
    return found;
}

static bool group(const char *name, gid_t *gid) {
    struct line line = {.file = fopen("/etc/group", "re")};
    char *field[4];
    bool found = false;
    while (!found && next(&line, field, 3)) {
        long long id;
        found = strcmp(field[0], name) == 0 && number(field[2], &id);
        if (found)
            *gid = (gid_t)id;
    }
    finish(&line);
    return found;
}

static void add_group(struct user *user, gid_t gid) {
    for (int i = 0; i < user->group_count; i++)
        if (user->groups[i] == gid)
            return;
    if (user->group_count < GROUPS_MAX)
        user->groups[user->group_count++] = gid;
}

/* Groups whose member list names `login`. */
static void add_memberships(struct user *user, const char *login) {
    struct line line = {.file = fopen("/etc/group", "re")};
    char *field[4];
    while (next(&line, field, 4)) {
        long long id;
        char *rest = field[3], *member;
        while ((member = strsep(&rest, ",")))
            if (strcmp(member, login) == 0 && number(field[2], &id))
                add_group(user, (gid_t)id);
    }
    finish(&line);
}

/* `name|uid[:group|gid]`, either part may be empty. */
static int resolve_raw(const char *raw, struct user *user, struct err *e) {
    char who[256], login[256] = "";
    const char *colon = strchr(raw, ':');
    size_t length = colon ? (size_t)(colon - raw) : strlen(raw);
    long long id = 0;
    if (length >= sizeof who)
        return err_set(e, ENAMETOOLONG, "unable to find user %.64s", raw);
    memcpy(who, raw, length);
    who[length] = 0;
    bool numeric = !length || number(who, &id);
    user->uid = (uid_t)id;
    if (!passwd(numeric ? NULL : who, id, user, login, sizeof login) && !numeric)
        return err_code(e, "notFound", ENOENT, "unable to find user %s: no matching entries in passwd file", who);
    if (!colon || !colon[1]) {
        if (login[0])
            add_memberships(user, login);
        return 0;
    }
    if (number(colon + 1, &id))
        user->gid = (gid_t)id;
    else if (!group(colon + 1, &user->gid))
        return err_code(e, "notFound", ENOENT, "unable to find group %s: no matching entries in group file", colon + 1);
    return 0;
}

static int resolve_id(const json_t *id, struct user *user) {
    char login[256];
    long long uid = args_integer(id, "uid", 0), gid = args_integer(id, "gid", 0);
    passwd(NULL, uid, user, login, sizeof login); /* for the home */
    user->uid = (uid_t)uid;
    user->gid = (gid_t)gid;
    return 0;
}

int user_resolve(const json_t *process, struct user *user, struct err *e) {
    const json_t *spec = json_object_get(process, "user"), *item;
    const char *raw = args_string(json_object_get(spec, "raw"), "userString", NULL);
    size_t index;
    memset(user, 0, sizeof *user);
    int status = raw ? resolve_raw(raw, user, e) : resolve_id(json_object_get(spec, "id"), user);
    if (status < 0)
        return status;
    add_group(user, user->gid);
    json_array_foreach(args_array(process, "supplementalGroups"), index, item) {
        add_group(user, (gid_t)json_integer_value(item));
    }
    if (!user->home[0])
        strcpy(user->home, "/");
    return 0;
}
