#define _GNU_SOURCE
#include "hold.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "err.h"
#include "link.h"
#include "ns.h"

enum { LIFELINE_FD = 3 };

static void check(int result, const char *what, const char *on) {
    if (result < 0)
        fail_errno(result, "cannot %s %s", what, on);
}

static void apply_sysctl(const char *assignment) {
    char key[128];
    const char *equals = strchr(assignment, '=');

    if (equals == NULL || (size_t)(equals - assignment) >= sizeof(key))
        fail("not a sysctl assignment: %s", assignment);
    memcpy(key, assignment, (size_t)(equals - assignment));
    key[equals - assignment] = 0;
    check(ns_sysctl(key, equals + 1), "set the sysctl", assignment);
}

static void build(const struct hold *hold) {
    ns_create(hold->user);
    check(link_set_up("lo"), "bring up", "lo");
    check(link_add_bridge(hold->bridge), "create bridge", hold->bridge);
    check(link_set_mac(hold->bridge, hold->mac), "set the MAC address of", hold->bridge);
    for (int i = 0; hold->sysctl[i] != NULL; i++)
        apply_sysctl(hold->sysctl[i]);
    check(link_set_up(hold->bridge), "bring up", hold->bridge);
    for (int i = 0; i < 2; i++)
        if (hold->address[i] != NULL)
            check(link_add_address(hold->bridge, hold->address[i]), "add address", hold->address[i]);
}

/* Let go of everything that came from the starter, except its namespaces, and take the lifeline. */
static void settle(void) {
    int lifeline[2], null = open("/dev/null", O_RDWR);
    sigset_t none;

    if (null < 0 || pipe(lifeline) < 0)
        fail_errno(errno, "cannot settle the namespace holder");
    for (int fd = 0; fd < LIFELINE_FD; fd++)
        dup2(null, fd);
    /* Neither end can be 3 or below by accident: move the write end up before anything is closed. */
    int keep = fcntl(lifeline[1], F_DUPFD, LIFELINE_FD + 1);
    dup2(keep, LIFELINE_FD);
    close_range(LIFELINE_FD + 1, ~0U, 0);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGTERM, SIG_DFL);
    signal(SIGHUP, SIG_IGN);
    if (chdir("/") < 0)
        _exit(1);
}

void hold_main(const struct hold *hold) {
    char byte;

    if (hold->netns >= 0)
        check(ns_enter(hold->netns, hold->userns), "enter", "the namespace to hold");
    else
        build(hold);
    if (puts("ready") < 0 || fflush(stdout) != 0)
        fail_errno(errno, "cannot report the namespace");
    /* Without the byte, the starter ended before it had taken note of us: nobody would ever end us. */
    if (read(STDIN_FILENO, &byte, 1) != 1)
        exit(1);
    settle();
    for (;;)
        pause();
}
