#define _GNU_SOURCE
#include "route.h"

#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { TABLE = 100, PRIORITY = 100 };

struct request {
    struct nlmsghdr header;
    union {
        struct rtmsg route;
        struct fib_rule_hdr rule;
    } body;
    char attributes[64];
};

static void begin(struct request *request, int type) {
    memset(request, 0, sizeof(*request));
    request->header.nlmsg_len = NLMSG_LENGTH(sizeof(request->body));
    request->header.nlmsg_type = (unsigned short)type;
    request->header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
}

static void add(struct request *request, int type, uint32_t value) {
    struct rtattr *attribute = (struct rtattr *)(void *)((char *)request + request->header.nlmsg_len);

    attribute->rta_type = (unsigned short)type;
    attribute->rta_len = RTA_LENGTH(sizeof(value));
    memcpy(RTA_DATA(attribute), &value, sizeof(value));
    request->header.nlmsg_len += RTA_LENGTH(sizeof(value));
}

/* What is there already is fine. */
static int perform(int netlink, const struct request *request) {
    struct {
        struct nlmsghdr header;
        struct nlmsgerr error;
        char rest[256];
    } answer;

    if (send(netlink, request, request->header.nlmsg_len, 0) < 0)
        return -errno;
    ssize_t got = recv(netlink, &answer, sizeof(answer), 0);
    if (got < 0)
        return -errno;
    if (got < (ssize_t)NLMSG_LENGTH(sizeof(answer.error)) || answer.header.nlmsg_type != NLMSG_ERROR)
        return -EPROTO;
    return answer.error.error == -EEXIST ? 0 : answer.error.error;
}

static int add_route(int netlink, int family) {
    struct request request;

    begin(&request, RTM_NEWROUTE);
    request.body.route = (struct rtmsg){
        .rtm_family = (unsigned char)family,
        .rtm_table = TABLE,
        .rtm_protocol = RTPROT_STATIC,
        .rtm_scope = family == AF_INET ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE,
        .rtm_type = RTN_LOCAL,
    };
    add(&request, RTA_OIF, if_nametoindex("lo"));
    return perform(netlink, &request);
}

static int add_rule(int netlink, int family, uint32_t mark) {
    struct request request;

    begin(&request, RTM_NEWRULE);
    request.body.rule = (struct fib_rule_hdr){.family = (unsigned char)family, .table = TABLE, .action = FR_ACT_TO_TBL};
    add(&request, FRA_PRIORITY, PRIORITY);
    add(&request, FRA_FWMARK, mark);
    return perform(netlink, &request);
}

int route_to_us(int family, uint32_t mark) {
    int netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

    if (netlink < 0)
        return -errno;
    int result = add_route(netlink, family);
    if (result == 0)
        result = add_rule(netlink, family, mark);
    close(netlink);
    return result;
}
