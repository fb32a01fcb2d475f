/* Interfaces, addresses and routes by rtnetlink(7). */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "args.h"
#include "dispatch.h"
#include "modules.h"
#include "uevent.h"

enum { WAIT_MS = 10000, LINKS_MAX = 256, MAC_SIZE = 6 };

struct request {
    struct nlmsghdr head;
    union {
        struct ifinfomsg link;
        struct ifaddrmsg address;
        struct rtmsg route;
        char space[512];
    } body;
};

struct ip {
    int family;
    unsigned char bytes[16];
    unsigned char size; /* of bytes */
    unsigned char prefix;
};

static void begin(struct request *request, int type, int flags, size_t body) {
    memset(request, 0, sizeof *request);
    request->head.nlmsg_type = (unsigned short)type;
    request->head.nlmsg_flags = (unsigned short)(NLM_F_REQUEST | NLM_F_ACK | flags);
    request->head.nlmsg_len = (unsigned)NLMSG_LENGTH(body);
}

static void attribute(struct request *request, int type, const void *value, size_t size) {
    struct rtattr *at = (struct rtattr *)((char *)request + NLMSG_ALIGN(request->head.nlmsg_len));
    if ((char *)at + RTA_SPACE(size) > (char *)(request + 1))
        return; /* the kernel will find it missing; sizes here are small and fixed */
    at->rta_type = (unsigned short)type;
    at->rta_len = (unsigned short)RTA_LENGTH(size);
    memcpy(RTA_DATA(at), value, size);
    request->head.nlmsg_len = (unsigned)(NLMSG_ALIGN(request->head.nlmsg_len) + RTA_SPACE(size));
}

/* Send and wait for the kernel's verdict: 0 or -errno. */
static int talk(int fd, struct request *request) {
    char answer[4096];
    if (send(fd, request, request->head.nlmsg_len, 0) < 0)
        return -errno;
    ssize_t got = recv(fd, answer, sizeof answer, 0);
    if (got < 0)
        return -errno;
    const struct nlmsghdr *head = (const struct nlmsghdr *)answer;
    if (!NLMSG_OK(head, (size_t)got) || head->nlmsg_type != NLMSG_ERROR)
        return -EPROTO;
    return ((const struct nlmsgerr *)NLMSG_DATA(head))->error;
}

/* ---- links ---- */

struct search {
    int fd; /* any socket */
    unsigned char mac[MAC_SIZE];
    char name[IF_NAMESIZE];
};

static bool parse_mac(const char *text, unsigned char *mac) {
    char rest;
    return sscanf(text, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%c", mac, mac + 1, mac + 2, mac + 3, mac + 4, mac + 5,
                  &rest) == 6;
}

/* One by one (netdevice(7)): a dump of all that the kernel knows of its links takes an emulated CPU 15 ms. */
static bool has_mac(void *context) {
    struct search *search = context;
    for (int index = 1; index <= LINKS_MAX; index++) {
        struct ifreq query = {.ifr_ifindex = index};
        if (ioctl(search->fd, SIOCGIFNAME, &query) < 0)
            continue;
        memcpy(search->name, query.ifr_name, sizeof search->name);
        if (ioctl(search->fd, SIOCGIFHWADDR, &query) == 0 && query.ifr_hwaddr.sa_family == ARPHRD_ETHER &&
            memcmp(query.ifr_hwaddr.sa_data, search->mac, sizeof search->mac) == 0)
            return true;
    }
    return false;
}

static int set_link(int fd, unsigned index, const char *name, const unsigned char *mac, unsigned mtu, bool up) {
    struct request request;
    begin(&request, RTM_NEWLINK, 0, sizeof request.body.link);
    request.body.link.ifi_index = (int)index;
    if (up) {
        request.body.link.ifi_flags = IFF_UP;
        request.body.link.ifi_change = IFF_UP;
    }
    if (name)
        attribute(&request, IFLA_IFNAME, name, strlen(name) + 1);
    if (mac)
        attribute(&request, IFLA_ADDRESS, mac, MAC_SIZE);
    if (mtu)
        attribute(&request, IFLA_MTU, &mtu, sizeof mtu);
    return talk(fd, &request);
}

static int bring_up(int fd, const json_t *spec, unsigned *index, struct err *e) {
    const char *address = args_string(spec, "macAddress", ""), *name = args_string(spec, "name", NULL);
    const char *device = args_string(spec, "device", address);
    unsigned char mac[MAC_SIZE];
    unsigned mtu = (unsigned)args_integer(spec, "mtu", 0);
    struct search search = {.fd = fd};
    if (!parse_mac(address, mac) || !parse_mac(device, search.mac) || (name && strlen(name) >= IF_NAMESIZE))
        return err_set(e, EINVAL, "no network interface can have MAC \"%s\" and name \"%s\"", address,
                       name ? name : "");
    if (uevent_until(has_mac, &search, WAIT_MS) < 0)
        return err_code(e, "notFound", ENODEV, "no network interface with MAC %s appeared within %d s", device,
                        WAIT_MS / 1000);
    *index = if_nametoindex(search.name);
    bool rename = name && strcmp(name, search.name) != 0;
    unsigned other = rename ? if_nametoindex(name) : 0;
    if (other) { /* the kernel numbered them otherwise: whoever has the name waits for its own turn */
        char aside[IF_NAMESIZE];
        snprintf(aside, sizeof aside, "was%u", other);
        set_link(fd, other, aside, NULL, 0, false);
    }
    int status = set_link(fd, *index, rename ? name : NULL, memcmp(mac, search.mac, MAC_SIZE) ? mac : NULL, mtu, true);
    return status < 0 ? err_set(e, -status, "failed to bring up %s (%s)", name ? name : search.name, address) : 0;
}

/* ---- addresses ---- */

/* `a.b.c.d[/len]` or its IPv6 like; no length = a host's. */
static bool parse_ip(const char *text, struct ip *ip) {
    char host[64];
    const char *slash = strchr(text, '/');
    size_t length = slash ? (size_t)(slash - text) : strlen(text);
    if (length >= sizeof host)
        return false;
    memcpy(host, text, length);
    host[length] = 0;
    ip->family = strchr(host, ':') ? AF_INET6 : AF_INET;
    ip->size = ip->family == AF_INET6 ? 16 : 4;
    ip->prefix = (unsigned char)(ip->size * 8);
    if (slash) {
        char *end;
        long prefix = strtol(slash + 1, &end, 10);
        if (end == slash + 1 || *end || prefix < 0 || prefix > ip->prefix)
            return false;
        ip->prefix = (unsigned char)prefix;
    }
    return inet_pton(ip->family, host, ip->bytes) == 1;
}

static int add_address(int fd, unsigned index, const char *text, struct err *e) {
    struct request request;
    struct ip ip;
    if (!parse_ip(text, &ip))
        return err_set(e, EINVAL, "%s is no address", text);
    begin(&request, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, sizeof request.body.address);
    request.body.address.ifa_family = (unsigned char)ip.family;
    request.body.address.ifa_prefixlen = ip.prefix;
    request.body.address.ifa_index = index;
    if (ip.family == AF_INET6) /* usable at once: the host gave it, nobody else has it */
        request.body.address.ifa_flags = IFA_F_NODAD;
    attribute(&request, IFA_LOCAL, ip.bytes, ip.size);
    attribute(&request, IFA_ADDRESS, ip.bytes, ip.size);
    if (ip.family == AF_INET && ip.prefix < 31) {
        uint32_t broadcast;
        memcpy(&broadcast, ip.bytes, 4);
        broadcast |= htonl(0xffffffffU >> ip.prefix);
        attribute(&request, IFA_BROADCAST, &broadcast, 4);
    }
    int status = talk(fd, &request);
    return status < 0 ? err_set(e, -status, "failed to add address %s", text) : 0;
}

static int add_route(int fd, unsigned index, const json_t *route, struct err *e) {
    const char *to = args_string(route, "destination", ""), *via = args_string(route, "gateway", NULL);
    struct ip destination = {.family = AF_INET}, gateway;
    struct request request;
    bool all = strcmp(to, "default") == 0;
    if ((via && !parse_ip(via, &gateway)) || (!all && !parse_ip(to, &destination)))
        return err_set(e, EINVAL, "\"%s via %s\" is no route", to, via ? via : "-");
    if (all && via)
        destination.family = gateway.family;
    begin(&request, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, sizeof request.body.route);
    request.body.route.rtm_family = (unsigned char)destination.family;
    request.body.route.rtm_dst_len = all ? 0 : destination.prefix;
    request.body.route.rtm_table = RT_TABLE_MAIN;
    request.body.route.rtm_protocol = RTPROT_BOOT;
    request.body.route.rtm_scope = via ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
    request.body.route.rtm_type = RTN_UNICAST;
    if (!all)
        attribute(&request, RTA_DST, destination.bytes, destination.size);
    if (via)
        attribute(&request, RTA_GATEWAY, gateway.bytes, gateway.size);
    attribute(&request, RTA_OIF, &index, sizeof index);
    int status = talk(fd, &request);
    return status < 0 ? err_set(e, -status, "failed to add the route to %s via %s", to, via ? via : "-") : 0;
}

static int configure(int fd, const json_t *spec, struct err *e) {
    const json_t *item;
    size_t at;
    unsigned index = 0;
    int status = bring_up(fd, spec, &index, e);
    json_array_foreach(args_array(spec, "addresses"), at, item) {
        if (status == 0)
            status = add_address(fd, index, json_is_string(item) ? json_string_value(item) : "", e);
    }
    json_array_foreach(args_array(spec, "routes"), at, item) {
        if (status == 0)
            status = add_route(fd, index, item, e);
    }
    return status;
}

int op_network(uint32_t number, const json_t *args, json_t **result, struct err *e) {
    const json_t *item;
    size_t at;
    (void)number, (void)result;
    modules_settle();
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0)
        return err_set(e, errno, "failed to configure the network");
    int status = set_link(fd, if_nametoindex("lo"), NULL, NULL, 0, true);
    if (status < 0)
        err_set(e, -status, "failed to bring up lo");
    json_array_foreach(args_array(args, "interfaces"), at, item) {
        if (status == 0)
            status = configure(fd, item, e);
    }
    close(fd);
    return status;
}
