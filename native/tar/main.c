/*
 * container-tar: the host's end of `container copy`.
 *
 *   container-tar pack PATH          write the file or directory as a tar stream to standard output
 *   container-tar unpack PATH NAME   copy what standard input holds, called NAME, to PATH; print where it went
 *
 * Paths are absolute. A failure is two lines on standard error: code and sentence, of the closed set of the host.
 * What the stream says is not trusted: nothing outside of its destination is touched, there are no
 * devices, no set-id bits and no owners but the caller.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "err.h"
#include "pack.h"
#include "place.h"
#include "root.h"
#include "tar.h"
#include "unpack.h"

static int pack_path(int root, const char *path, struct err *e) {
    static char name[PATH_MAX];
    const struct pack_options options = {.sparse = true};
    int fd = place_source(root, path, e);
    if (fd < 0)
        return fd;
    place_name(path, name);
    return pack(fd, *name ? name : ".", &options, STDOUT_FILENO, e);
}

static int unpack_path(int root, const char *path, const char *name, struct err *e) {
    static struct tar_reader reader;
    static struct place place;
    struct tar_entry first;
    reader.fd = STDIN_FILENO;
    int more = tar_read(&reader, &first);
    if (more <= 0)
        return tar_failed(e, more < 0 ? more : -ENODATA); /* nothing came */
    int status = place_destination(root, path, first.kind == TAR_DIRECTORY, name, false, &place, e);
    if (status < 0)
        return status;
    struct unpack_target target = {
        .root = root_open(root, place.base, O_RDONLY | O_DIRECTORY, 0),
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
        .base = "",
        .as = place.as,
    };
    if (target.root < 0)
        return err_set(e, -target.root, "failed to open %s", place.base);
    status = unpack(&reader, &first, &target, e);
    if (status == 0)
        printf("%s%s%s", strcmp(place.base, "/") == 0 ? "" : place.base, *place.as ? "/" : "", place.as);
    return status;
}

int main(int argc, char **argv) {
    struct err e = {0};
    int status;
    int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    umask(0);
    if (argc == 3 && strcmp(argv[1], "pack") == 0) {
        status = pack_path(root, argv[2], &e);
    } else if (argc == 4 && strcmp(argv[1], "unpack") == 0) {
        status = unpack_path(root, argv[2], argv[3], &e);
    } else {
        fprintf(stderr, "usage: container-tar pack PATH | unpack PATH NAME\n");
        return 64;
    }
    if (status < 0)
        fprintf(stderr, "%s\n%s\n", err_name(&e), e.text);
    return status < 0;
}
