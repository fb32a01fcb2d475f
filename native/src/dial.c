#define _GNU_SOURCE
#include "dial.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "route.h"

#ifndef IPV6_TRANSPARENT
#define IPV6_TRANSPARENT 75
#endif

union address {
    struct sockaddr any;
    struct sockaddr_in ipv4;
    struct sockaddr_in6 ipv6;
};

void dial_prepare(struct dialer *dialer, uint32_t answers) {
    dialer->ipv4 = route_to_us(AF_INET, answers) == 0;
    dialer->ipv6 = route_to_us(AF_INET6, answers) == 0;
}

int dial_add_near(struct dialer *dialer, const char *subnet) {
    char text[INET6_ADDRSTRLEN];
    const char *slash = strchr(subnet, '/');

    if (slash == NULL || (size_t)(slash - subnet) >= sizeof(text) || dialer->near_count == NEAR_MAX)
        return -EINVAL;
    memcpy(text, subnet, (size_t)(slash - subnet));
    text[slash - subnet] = 0;
    struct prefix *prefix = &dialer->near[dialer->near_count];
    prefix->family = strchr(text, ':') != NULL ? AF_INET6 : AF_INET;
    prefix->bits = atoi(slash + 1);
    if (inet_pton(prefix->family, text, prefix->address) != 1 || prefix->bits < 0 ||
        prefix->bits > (prefix->family == AF_INET6 ? 128 : 32))
        return -EINVAL;
    dialer->near_count++;
    return 0;
}

static bool within(const struct prefix *prefix, int family, const unsigned char *address) {
    size_t bytes = (size_t)prefix->bits / 8;
    unsigned mask = 0xff00U >> prefix->bits % 8 & 0xff;

    if (prefix->family != family || memcmp(prefix->address, address, bytes) != 0)
        return false;
    return mask == 0 || ((prefix->address[bytes] ^ address[bytes]) & mask) == 0;
}

/* Whether the container's answers to this client would come by its gateway, which is this namespace. */
static bool answered_through_us(const struct dialer *dialer, const union address *client) {
    bool ipv6 = client->any.sa_family == AF_INET6;
    const struct in6_addr *long_address = &client->ipv6.sin6_addr;
    const unsigned char *bytes =
        ipv6 ? long_address->s6_addr : (const unsigned char *)(const void *)&client->ipv4.sin_addr;

    if (dialer->mark == 0 || !(ipv6 ? dialer->ipv6 : dialer->ipv4))
        return false;
    if (ipv6 ? IN6_IS_ADDR_LOOPBACK(long_address) || IN6_IS_ADDR_LINKLOCAL(long_address) : bytes[0] == 127)
        return false;
    for (size_t i = 0; i < dialer->near_count; i++)
        if (within(&dialer->near[i], client->any.sa_family, bytes))
            return false;
    return true;
}

/* The client's address becomes the socket's own (ip(7), IP_TRANSPARENT), with a port of the kernel's choice. */
static int take_name(int fd, uint32_t mark, const union address *client) {
    union address name = *client;
    bool ipv6 = client->any.sa_family == AF_INET6;
    int on = 1;

    if (ipv6)
        name.ipv6.sin6_port = 0;
    else
        name.ipv4.sin_port = 0;
    if (setsockopt(fd, ipv6 ? IPPROTO_IPV6 : IPPROTO_IP, ipv6 ? IPV6_TRANSPARENT : IP_TRANSPARENT, &on, sizeof(on)) < 0)
        return -1;
    if (setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)) < 0)
        return -1;
    if (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on)) < 0)
        return -1;
    return bind(fd, &name.any, ipv6 ? sizeof(name.ipv6) : sizeof(name.ipv4));
}

static int call(int type, uint32_t mark, const union address *client, const struct sockaddr *target, socklen_t length) {
    int fd = socket(target->sa_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    if (client == NULL || take_name(fd, mark, client) == 0)
        if (connect(fd, target, length) == 0 || errno == EINPROGRESS)
            return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

int dial(const struct dialer *dialer, int type, const struct sockaddr *client, const struct sockaddr *target,
         socklen_t target_length) {
    const union address *name = (const union address *)(const void *)client;

    if (client->sa_family == target->sa_family && answered_through_us(dialer, name)) {
        int fd = call(type, dialer->mark, name, target, target_length);
        if (fd >= 0)
            return fd;
    }
    return call(type, 0, NULL, target, target_length);
}
