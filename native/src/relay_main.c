/*
 * container-relay: relays TCP connections and UDP datagrams from sockets of the host into a network's namespace.
 *
 *   container-relay --max CONNECTIONS --sessions SESSIONS --idle MILLISECONDS --netns FD [--userns FD]
 *                   [--mark MARK --answers MARK [--near SUBNET]…]
 *
 * With marks, connections are made in the clients' names (see dial.h).
 * Standard input is the table: a line `tcp|udp <fd> <address> <port>` for each socket, then an empty line; it stays
 * open, and its end ends the relay. Standard output gets `ready`, or a sentence that says what failed.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "err.h"
#include "ns.h"
#include "relay.h"
#include "udp.h"

#define HALF_CLOSED_SECONDS "7200"

enum { LISTENERS_MAX = 65536, DESCRIPTORS_PER_CONNECTION = 6, DESCRIPTORS_SPARE = 160 };

static int number(const char *text) {
    char *end;
    long value = strtol(text, &end, 10);

    if (end == text || *end != 0 || value < 0 || value > 1 << 20)
        fail("not a number: %s", text);
    return (int)value;
}

static void set_target(struct listener *listener, const char *address, unsigned port) {
    struct sockaddr_in *ipv4 = (struct sockaddr_in *)&listener->target;
    struct sockaddr_in6 *ipv6 = (struct sockaddr_in6 *)&listener->target;

    if (inet_pton(AF_INET, address, &ipv4->sin_addr) == 1) {
        ipv4->sin_family = AF_INET;
        ipv4->sin_port = htons((uint16_t)port);
        listener->target_length = sizeof(*ipv4);
    } else if (inet_pton(AF_INET6, address, &ipv6->sin6_addr) == 1) {
        ipv6->sin6_family = AF_INET6;
        ipv6->sin6_port = htons((uint16_t)port);
        listener->target_length = sizeof(*ipv6);
    } else {
        fail("not an address: %s", address);
    }
}

static struct listener *read_table(size_t *count, const struct dialer *dialer) {
    char line[128], address[INET6_ADDRSTRLEN];
    struct listener *listeners = NULL;
    char protocol[4];
    unsigned port;
    int fd;

    *count = 0;
    while (fgets(line, sizeof(line), stdin) != NULL && line[0] != '\n') {
        if (sscanf(line, "%3s %d %45s %u", protocol, &fd, address, &port) != 4 || port > 65535 ||
            *count == LISTENERS_MAX)
            fail("bad line in the table: %s", line);
        listeners = reallocarray(listeners, *count + 1, sizeof(*listeners));
        if (listeners == NULL)
            fail_errno(errno, "cannot keep the table");
        struct listener *listener = &listeners[(*count)++];
        bool datagrams = strcmp(protocol, "udp") == 0;
        *listener =
            (struct listener){.watch = {datagrams ? SOURCE_DATAGRAMS : SOURCE_LISTENER}, .fd = fd, .dialer = dialer};
        set_target(listener, address, port);
        if (datagrams && udp_prepare(fd) < 0)
            fail_errno(errno, "cannot use the UDP socket for port %u", port);
    }
    if (ferror(stdin) || feof(stdin))
        fail("the table ended too early");
    return listeners;
}

/* As many descriptors as allowed, and limits that fit: a quarter of what there is for sessions, the rest for
 * connections. */
static void fit_descriptors(size_t listeners, struct limits *limits) {
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        fail_errno(errno, "cannot read the limit of open files");
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        fail_errno(errno, "cannot raise the limit of open files to %lu", (unsigned long)limit.rlim_cur);
    size_t reserved = listeners + DESCRIPTORS_SPARE;
    if (limit.rlim_cur <= reserved + 2 * DESCRIPTORS_PER_CONNECTION)
        fail("the limit of open files is too low for %zu published ports; raise it: ulimit -n", listeners);
    size_t left = limit.rlim_cur - reserved;
    if (limits->sessions > left / 4)
        limits->sessions = left / 4;
    size_t fitting = (left - limits->sessions) / DESCRIPTORS_PER_CONNECTION;
    if (limits->connections > fitting)
        limits->connections = fitting;
}

static int set_capabilities(unsigned kept) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {{.effective = kept, .permitted = kept}};

    return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

/* Nothing that follows needs a privilege but the clients' names: CAP_NET_RAW, which reaches no further than this
 * network. And die with the parent, should its end of standard input leak. */
static void confine(pid_t parent, struct dialer *dialer) {
    if (dialer->mark != 0 && set_capabilities(1U << CAP_NET_RAW) < 0)
        dialer->mark = 0;
    if ((dialer->mark == 0 && set_capabilities(0) < 0) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        fail_errno(errno, "cannot drop privileges");
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
        fail("the parent is gone");
}

/* A server may answer long after its client has said all: let the network's rules know such a connection for longer
 * than a minute (nf_conntrack-sysctl). Without these settings there are no such rules. */
static void remember_half_closed(void) {
    ns_sysctl("net/netfilter/nf_conntrack_tcp_timeout_fin_wait", HALF_CLOSED_SECONDS);
    ns_sysctl("net/netfilter/nf_conntrack_tcp_timeout_close_wait", HALF_CLOSED_SECONDS);
}

struct arguments {
    int netns, userns;
    uint32_t answers;
    struct limits limits;
    struct dialer dialer;
};

static void parse(int argc, char **argv, struct arguments *args) {
    static const struct option options[] = {
        {"netns", required_argument, NULL, 'N'},
        {"userns", required_argument, NULL, 'U'},
        {"max", required_argument, NULL, 'm'},
        {"sessions", required_argument, NULL, 's'},
        {"idle", required_argument, NULL, 'i'},
        {"mark", required_argument, NULL, 'k'},
        {"near", required_argument, NULL, 'n'},
        {"answers", required_argument, NULL, 'a'},
        {0},
    };
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'N':
            args->netns = number(optarg);
            break;
        case 'U':
            args->userns = number(optarg);
            break;
        case 'm':
            args->limits.connections = (size_t)number(optarg);
            break;
        case 's':
            args->limits.sessions = (size_t)number(optarg);
            break;
        case 'i':
            args->limits.idle_ms = number(optarg);
            break;
        case 'k':
            args->dialer.mark = (uint32_t)number(optarg);
            break;
        case 'a':
            args->answers = (uint32_t)number(optarg);
            break;
        case 'n':
            if (dial_add_near(&args->dialer, optarg) < 0)
                fail("not a subnet, or one too many: %s", optarg);
            break;
        default:
            exit(2);
        }
    }
    if (args->netns < 0 || args->limits.connections == 0 || args->limits.sessions == 0 || args->limits.idle_ms == 0)
        fail("usage: container-relay --max CONNECTIONS --sessions SESSIONS --idle MILLISECONDS --netns FD [--userns "
             "FD] [--mark MARK --answers MARK [--near SUBNET]…]");
}

int main(int argc, char **argv) {
    static struct arguments args = {.netns = -1, .userns = -1};
    pid_t parent = getppid();
    size_t count;

    dup2(STDOUT_FILENO, STDERR_FILENO);
    parse(argc, argv, &args);
    struct listener *listeners = read_table(&count, &args.dialer);
    fit_descriptors(count, &args.limits);
    int result = ns_enter(args.netns, args.userns);
    if (result < 0)
        fail_errno(result, "cannot enter the network's namespace");
    remember_half_closed();
    if (args.dialer.mark != 0)
        dial_prepare(&args.dialer, args.answers);
    confine(parent, &args.dialer);
    signal(SIGPIPE, SIG_IGN);
    puts("ready");
    if (fflush(stdout) != 0)
        fail_errno(errno, "cannot report");
    if (relay_run(listeners, count, STDIN_FILENO, &args.limits) < 0)
        fail_errno(errno, "the port relay cannot go on");
    return 0;
}
