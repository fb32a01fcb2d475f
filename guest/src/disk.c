#include "disk.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "uevent.h"

enum { WAIT_MS = 10000 };

struct search {
    const char *serial;
    int partition;
    char name[64]; /* of the disk */
    char node[96]; /* of the disk or partition */
};

static bool has_serial(const char *name, const char *serial) {
    char path[320], text[128];
    snprintf(path, sizeof path, "/sys/block/%s/serial", name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t got = read(fd, text, sizeof text - 1);
    close(fd);
    if (got < 0)
        return false;
    text[got] = 0;
    text[strcspn(text, "\n")] = 0;
    return strcmp(text, serial) == 0;
}

static bool found(void *context) {
    struct search *search = context;
    struct dirent *entry;
    DIR *blocks = opendir("/sys/block");
    if (!blocks)
        return false;
    search->name[0] = 0;
    while ((entry = readdir(blocks)) && !search->name[0])
        if (entry->d_name[0] != '.' && strlen(entry->d_name) < sizeof search->name &&
            has_serial(entry->d_name, search->serial))
            strcpy(search->name, entry->d_name);
    closedir(blocks);
    size_t length = strlen(search->name);
    if (!length)
        return false;
    if (search->partition == 0) {
        snprintf(search->node, sizeof search->node, "%s", search->name);
        return true;
    }
    char path[256];
    const char *infix = isdigit((unsigned char)search->name[length - 1]) ? "p" : "";
    snprintf(search->node, sizeof search->node, "%s%s%d", search->name, infix, search->partition);
    snprintf(path, sizeof path, "/sys/block/%s/%s", search->name, search->node);
    return access(path, F_OK) == 0;
}

int disk_find(const char *serial, int partition, char *path, size_t size, struct err *e) {
    struct search search = {.serial = serial, .partition = partition};
    int status = uevent_until(found, &search, WAIT_MS);
    if (status < 0 && search.name[0])
        return err_code(e, "notFound", ENODEV, "disk \"%s\" (%s) has no partition %d", serial, search.name, partition);
    if (status < 0)
        return err_code(e, "notFound", ENODEV, "no disk with serial \"%s\" appeared within %d s", serial,
                        WAIT_MS / 1000);
    snprintf(path, size, "/dev/%s", search.node);
    return 0;
}
