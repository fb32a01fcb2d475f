#define _GNU_SOURCE
#include "link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* in6_ifreq of <linux/ipv6.h>, which cannot be included together with <netinet/in.h>. */
struct ipv6_request {
    struct in6_addr address;
    unsigned prefix;
    int index;
};

static int control(int family, unsigned long request, void *argument) {
    int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int result = ioctl(fd, request, argument) < 0 ? -errno : 0;
    close(fd);
    return result;
}

static int set_name(struct ifreq *request, const char *name) {
    memset(request, 0, sizeof(*request));
    if (strlen(name) >= IFNAMSIZ)
        return -ENAMETOOLONG;
    strcpy(request->ifr_name, name);
    return 0;
}

int link_add_bridge(const char *bridge) {
    struct ifreq request;
    int result = set_name(&request, bridge);
    return result < 0 ? result : control(AF_INET, SIOCBRADDBR, request.ifr_name);
}

int link_add_port(const char *bridge, const char *port) {
    struct ifreq request;
    int result = set_name(&request, bridge);
    if (result < 0)
        return result;
    request.ifr_ifindex = (int)if_nametoindex(port);
    return request.ifr_ifindex == 0 ? -errno : control(AF_INET, SIOCBRADDIF, &request);
}

int link_set_mac(const char *name, const char *mac) {
    struct ifreq request;
    unsigned byte[6];
    int result = set_name(&request, name);
    if (result < 0)
        return result;
    if (sscanf(mac, "%2x:%2x:%2x:%2x:%2x:%2x", &byte[0], &byte[1], &byte[2], &byte[3], &byte[4], &byte[5]) != 6)
        return -EINVAL;
    request.ifr_hwaddr.sa_family = ARPHRD_ETHER;
    for (int i = 0; i < 6; i++)
        request.ifr_hwaddr.sa_data[i] = (char)byte[i];
    return control(AF_INET, SIOCSIFHWADDR, &request);
}

int link_set_mtu(const char *name, int mtu) {
    struct ifreq request;
    int result = set_name(&request, name);
    request.ifr_mtu = mtu;
    return result < 0 ? result : control(AF_INET, SIOCSIFMTU, &request);
}

int link_set_up(const char *name) {
    struct ifreq request;
    int result = set_name(&request, name);
    if (result < 0)
        return result;
    result = control(AF_INET, SIOCGIFFLAGS, &request);
    request.ifr_flags |= IFF_UP;
    return result < 0 ? result : control(AF_INET, SIOCSIFFLAGS, &request);
}

static int add_ipv4(const char *name, struct in_addr address, int prefix) {
    struct ifreq request;
    struct sockaddr_in value = {.sin_family = AF_INET, .sin_addr = address};
    int result = set_name(&request, name);
    if (result < 0)
        return result;
    memcpy(&request.ifr_addr, &value, sizeof(value));
    result = control(AF_INET, SIOCSIFADDR, &request);
    if (result < 0)
        return result;
    value.sin_addr.s_addr = prefix == 0 ? 0 : htonl(~0U << (32 - prefix));
    memcpy(&request.ifr_netmask, &value, sizeof(value));
    return control(AF_INET, SIOCSIFNETMASK, &request);
}

static int add_ipv6(const char *name, struct in6_addr address, int prefix) {
    struct ipv6_request request = {.address = address, .prefix = (unsigned)prefix};
    request.index = (int)if_nametoindex(name);
    return request.index == 0 ? -errno : control(AF_INET6, SIOCSIFADDR, &request);
}

int link_add_address(const char *name, const char *address) {
    char text[INET6_ADDRSTRLEN];
    struct in_addr ipv4;
    struct in6_addr ipv6;
    const char *slash = strchr(address, '/');

    if (slash == NULL || (size_t)(slash - address) >= sizeof(text))
        return -EINVAL;
    memcpy(text, address, (size_t)(slash - address));
    text[slash - address] = 0;
    char *end;
    long prefix = strtol(slash + 1, &end, 10);
    if (end == slash + 1 || *end != 0)
        return -EINVAL;
    if (inet_pton(AF_INET, text, &ipv4) == 1 && prefix >= 0 && prefix <= 32)
        return add_ipv4(name, ipv4, (int)prefix);
    if (inet_pton(AF_INET6, text, &ipv6) == 1 && prefix >= 0 && prefix <= 128)
        return add_ipv6(name, ipv6, (int)prefix);
    return -EINVAL;
}

int link_open_tap(const char *name) {
    struct ifreq request;
    int result = set_name(&request, name);
    if (result < 0)
        return result;
    request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return -errno;
    if (ioctl(fd, TUNSETIFF, &request) < 0) {
        result = -errno;
        close(fd);
        return result;
    }
    return fd;
}
