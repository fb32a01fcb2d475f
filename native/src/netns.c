/*
 * container-netns: the network helper's hand inside its namespaces.
 *
 *   container-netns hold [--user] --bridge NAME --mac MAC [--address CIDR]… [--sysctl KEY=VALUE]…
 *   container-netns hold --netns FD [--userns FD]
 *   container-netns tap --netns FD [--userns FD] --socket FD --bridge NAME --mtu BYTES NAME
 *   container-netns serve --netns FD [--userns FD] --socket FD --bridge NAME --port PORT ADDRESS…
 *   container-netns links --netns FD [--userns FD]
 *   container-netns exec --netns FD [--userns FD] PROGRAM [ARGUMENT]…
 */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "err.h"
#include "hold.h"
#include "link.h"
#include "ns.h"
#include "pass.h"
#include "serve.h"

struct arguments {
    struct hold hold;
    int socket, mtu, port;
    char **rest;
};

static int number(const char *text) {
    char *end;
    long value = strtol(text, &end, 10);

    if (end == text || *end != 0 || value < 0 || value > 1 << 20)
        fail("not a number: %s", text);
    return (int)value;
}

static void append(const char **list, size_t size, const char *item) {
    for (size_t i = 0; i < size; i++)
        if (list[i] == NULL) {
            list[i] = item;
            return;
        }
    fail("too many of these: %s", item);
}

static struct arguments parse(int argc, char **argv) {
    static const struct option options[] = {
        {"user", no_argument, NULL, 'u'},
        {"bridge", required_argument, NULL, 'b'},
        {"mac", required_argument, NULL, 'm'},
        {"address", required_argument, NULL, 'a'},
        {"mtu", required_argument, NULL, 't'},
        {"sysctl", required_argument, NULL, 's'},
        {"netns", required_argument, NULL, 'N'},
        {"userns", required_argument, NULL, 'U'},
        {"socket", required_argument, NULL, 'S'},
        {"port", required_argument, NULL, 'p'},
        {0},
    };
    struct arguments args = {.hold = {.netns = -1, .userns = -1}, .socket = -1};
    int option;

    while ((option = getopt_long(argc, argv, "+", options, NULL)) != -1) {
        switch (option) {
        case 'u':
            args.hold.user = true;
            break;
        case 'b':
            args.hold.bridge = optarg;
            break;
        case 'm':
            args.hold.mac = optarg;
            break;
        case 'a':
            append(args.hold.address, 2, optarg);
            break;
        case 's':
            append(args.hold.sysctl, HOLD_SYSCTLS_MAX, optarg);
            break;
        case 'N':
            args.hold.netns = number(optarg);
            break;
        case 'U':
            args.hold.userns = number(optarg);
            break;
        case 'S':
            args.socket = number(optarg);
            break;
        case 'p':
            args.port = number(optarg);
            break;
        case 't':
            args.mtu = number(optarg);
            break;
        default:
            exit(2);
        }
    }
    args.rest = argv + optind;
    return args;
}

static void enter(const struct arguments *args) {
    if (args->hold.netns < 0)
        fail("--netns is missing");
    int result = ns_enter(args->hold.netns, args->hold.userns);
    if (result < 0)
        fail_errno(result, "cannot enter the network's namespace");
}

static void send_descriptors(int socket, const int *fds, size_t count) {
    int result = pass_descriptors(socket, fds, count);

    if (result < 0)
        fail_errno(result, "cannot hand over descriptors");
}

static int open_tap(const char *name) {
    int fd = link_open_tap(name);

    if (fd == -EACCES || fd == -EPERM)
        fail_errno(fd, "cannot open /dev/net/tun; every user may open it on most systems: "
                       "chmod 0666 /dev/net/tun as root");
    if (fd == -ENOENT || fd == -ENODEV || fd == -ENXIO)
        fail_errno(fd, "cannot open /dev/net/tun; load the kernel module: modprobe tun as root");
    if (fd < 0)
        fail_errno(fd, "cannot create the tap %s", name);
    return fd;
}

static int tap(const struct arguments *args) {
    const char *name = args->rest[0], *bridge = args->hold.bridge;
    char key[64];
    int result;

    if (name == NULL || bridge == NULL || args->socket < 0 || args->mtu == 0)
        fail("tap needs --socket, --bridge, --mtu and a name");
    enter(args);
    int fd = open_tap(name);
    /* A bridge port needs no addresses of its own. Without IPv6 in the kernel there is nothing to disable. */
    snprintf(key, sizeof(key), "net/ipv6/conf/%s/disable_ipv6", name);
    result = ns_sysctl(key, "1");
    if (result < 0 && result != -ENOENT)
        fail_errno(result, "cannot disable IPv6 on the tap %s", name);
    if ((result = link_set_mtu(name, args->mtu)) < 0)
        fail_errno(result, "cannot set the mtu of the tap %s to %d", name, args->mtu);
    if ((result = link_add_port(bridge, name)) < 0)
        fail_errno(result, "cannot add the tap %s to the bridge %s", name, bridge);
    if ((result = link_set_up(name)) < 0)
        fail_errno(result, "cannot bring up the tap %s", name);
    send_descriptors(args->socket, &fd, 1);
    return 0;
}

static int serve(const struct arguments *args) {
    int fds[PASS_MAX];
    size_t count = 0;

    if (args->hold.bridge == NULL || args->socket < 0 || args->port == 0 || args->rest[0] == NULL)
        fail("serve needs --socket, --bridge, --port and addresses");
    enter(args);
    for (char **address = args->rest; *address != NULL; address++, count += 2) {
        if (count + 2 > PASS_MAX)
            fail("too many addresses");
        int result = serve_open(args->hold.bridge, *address, args->port, fds + count);
        if (result < 0)
            fail_errno(result, "cannot serve on %s port %d", *address, args->port);
    }
    send_descriptors(args->socket, fds, count);
    return 0;
}

static int links(const struct arguments *args) {
    enter(args);
    struct if_nameindex *names = if_nameindex();
    if (names == NULL)
        fail_errno(errno, "cannot list network interfaces");
    for (struct if_nameindex *entry = names; entry->if_index != 0; entry++)
        puts(entry->if_name);
    if_freenameindex(names);
    return fflush(stdout) == 0 ? 0 : 1;
}

static int execute(const struct arguments *args) {
    if (args->rest[0] == NULL)
        fail("exec needs a program");
    enter(args);
    execvp(args->rest[0], args->rest);
    fail_errno(errno, "cannot run %s", args->rest[0]);
}

int main(int argc, char **argv) {
    if (argc < 2)
        fail("usage: container-netns hold|tap|serve|links|exec …");
    const char *verb = argv[1];
    struct arguments args = parse(argc - 1, argv + 1);

    if (strcmp(verb, "tap") == 0)
        return tap(&args);
    if (strcmp(verb, "serve") == 0)
        return serve(&args);
    if (strcmp(verb, "links") == 0)
        return links(&args);
    if (strcmp(verb, "exec") == 0)
        return execute(&args);
    if (strcmp(verb, "hold") != 0)
        fail("unknown verb: %s", verb);
    if (args.hold.netns < 0 && (args.hold.bridge == NULL || args.hold.mac == NULL))
        fail("hold needs --bridge and --mac, or --netns");
    hold_main(&args.hold);
}
