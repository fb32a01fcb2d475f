#define _GNU_SOURCE
#include "serve.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 64, RECEIVE_BYTES = 1 << 20 };

static int parse(const char *address, int port, struct sockaddr_storage *out, socklen_t *length) {
    struct sockaddr_in *ipv4 = (struct sockaddr_in *)out;
    struct sockaddr_in6 *ipv6 = (struct sockaddr_in6 *)out;

    memset(out, 0, sizeof(*out));
    if (inet_pton(AF_INET, address, &ipv4->sin_addr) == 1) {
        ipv4->sin_family = AF_INET;
        ipv4->sin_port = htons((uint16_t)port);
        *length = sizeof(*ipv4);
    } else if (inet_pton(AF_INET6, address, &ipv6->sin6_addr) == 1) {
        ipv6->sin6_family = AF_INET6;
        ipv6->sin6_port = htons((uint16_t)port);
        *length = sizeof(*ipv6);
    } else {
        return -EINVAL;
    }
    return 0;
}

static int open_one(const char *device, const struct sockaddr_storage *address, socklen_t length, int type) {
    int on = 1, size = RECEIVE_BYTES;
    int fd = socket(address->ss_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return -errno;
    if (setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, (socklen_t)strlen(device)) < 0)
        goto failed;
    /* A connection of an earlier server may be in TIME_WAIT; and IPv6 may still check for duplicates. */
    if (type == SOCK_STREAM && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
        goto failed;
    if (address->ss_family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_FREEBIND, &on, sizeof(on)) < 0)
        goto failed;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    if (bind(fd, (const struct sockaddr *)address, length) < 0)
        goto failed;
    if (type == SOCK_STREAM && listen(fd, BACKLOG) < 0)
        goto failed;
    return fd;
failed:;
    int error = errno;
    close(fd);
    return -error;
}

int serve_open(const char *device, const char *address, int port, int fds[2]) {
    struct sockaddr_storage parsed;
    socklen_t length = 0;
    int result = parse(address, port, &parsed, &length);

    if (result < 0)
        return result;
    fds[0] = open_one(device, &parsed, length, SOCK_DGRAM);
    if (fds[0] < 0)
        return fds[0];
    fds[1] = open_one(device, &parsed, length, SOCK_STREAM);
    if (fds[1] < 0) {
        close(fds[0]);
        return fds[1];
    }
    return 0;
}
