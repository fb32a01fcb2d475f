/* Prints everything that a tree says of each of its paths, one a line: the same program looks at a tree that another
 * tool unpacked and, inside a guest, at what a container sees. Usage: lister ROOT [SKIPPED-PATH ...]
 *
 * Fields, tab-separated: path, type and mode in octal, uid, gid, size, mtime, device, inode, link target, xattrs, hash.
 * Names are percent-encoded. The hash is FNV-1a of the content. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#define BIG 65536

static char **skipped;
static dev_t device;

static void fail(const char *what, const char *path) {
    fprintf(stderr, "lister: %s %s: %s\n", what, path, strerror(errno));
    exit(1);
}

static void quoted(const char *text, size_t length) {
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)text[i];
        if (byte > 32 && byte < 127 && byte != '%')
            putchar(byte);
        else
            printf("%%%02x", byte);
    }
}

static int by_name(const void *left, const void *right) {
    return strcmp(*(char *const *)left, *(char *const *)right);
}

static void xattrs(const char *path) {
    static char names[BIG], value[BIG];
    ssize_t length = llistxattr(path, names, sizeof names);
    if (length < 0 && errno != ENOTSUP)
        fail("llistxattr", path);
    char *sorted[1024];
    size_t count = 0;
    for (char *name = names; name < names + length; name += strlen(name) + 1)
        if (strncmp(name, "trusted.overlay.", 16) != 0 && strncmp(name, "security.selinux", 16) != 0)
            sorted[count++] = name;
    qsort(sorted, count, sizeof sorted[0], by_name);
    for (size_t i = 0; i < count; i++) {
        ssize_t size = lgetxattr(path, sorted[i], value, sizeof value);
        if (size < 0)
            fail("lgetxattr", path);
        printf("%s=", sorted[i]);
        for (ssize_t at = 0; at < size; at++)
            printf("%02x", (unsigned char)value[at]);
        putchar(',');
    }
}

static void content(const char *path) {
    static unsigned char buffer[BIG];
    uint64_t hash = 0xcbf29ce484222325;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        fail("open", path);
    ssize_t count;
    while ((count = read(fd, buffer, sizeof buffer)) > 0)
        for (ssize_t i = 0; i < count; i++)
            hash = (hash ^ buffer[i]) * 0x100000001b3;
    if (count < 0)
        fail("read", path);
    close(fd);
    printf("%016llx", (unsigned long long)hash);
}

static void list(const char *path, const char *shown);

static void children(const char *path, const char *shown) {
    DIR *directory = opendir(path);
    if (!directory)
        fail("opendir", path);
    struct dirent *entry;
    while ((entry = readdir(directory))) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        char *child, *name;
        if (asprintf(&child, "%s/%s", path, entry->d_name) < 0)
            fail("asprintf", path);
        if (asprintf(&name, *shown ? "%s/%s" : "%s%s", shown, entry->d_name) < 0)
            fail("asprintf", path);
        list(child, name);
        free(child);
        free(name);
    }
    closedir(directory);
}

static void list(const char *path, const char *shown) {
    for (char **skip = skipped; *skip; skip++)
        if (!strcmp(*skip, shown))
            return;
    struct stat st;
    if (lstat(path, &st) < 0)
        fail("lstat", path);
    if (S_ISDIR(st.st_mode) && st.st_dev != device)
        return; /* a mount */
    int sized = S_ISREG(st.st_mode) || S_ISLNK(st.st_mode);
    int special = S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode);
    quoted(shown, strlen(shown));
    printf("\t%o\t%u\t%u\t%lld\t%lld\t%u:%u\t%llx:%llu\t", st.st_mode, st.st_uid, st.st_gid,
           sized ? (long long)st.st_size : 0, (long long)st.st_mtime, special ? major(st.st_rdev) : 0,
           special ? minor(st.st_rdev) : 0, (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
    if (S_ISLNK(st.st_mode)) {
        static char target[BIG];
        ssize_t length = readlink(path, target, sizeof target);
        if (length < 0)
            fail("readlink", path);
        quoted(target, (size_t)length);
    }
    putchar('\t');
    xattrs(path);
    putchar('\t');
    if (S_ISREG(st.st_mode))
        content(path);
    putchar('\n');
    if (S_ISDIR(st.st_mode))
        children(path, shown);
}

int main(int count, char **arguments) {
    if (count < 2)
        return 2;
    struct stat root;
    if (stat(arguments[1], &root) < 0)
        fail("stat", arguments[1]);
    device = root.st_dev;
    skipped = arguments + 2;
    list(arguments[1], "");
    return fflush(stdout) ? 1 : 0;
}
