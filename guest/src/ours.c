#include "ours.h"

#include <stddef.h>
#include <string.h>

static const char *const files[] = {"etc/hostname", "etc/hosts", "etc/resolv.conf"};

bool ours(const char *path) {
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        if (strcmp(path, files[i]) == 0)
            return true;
    return false;
}
