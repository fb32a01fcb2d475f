/* The container's cgroup (cgroup v2): limits, use, end. Without cgroups (not PID 1) all of it does nothing. */
#ifndef CGROUP_H
#define CGROUP_H

#include <jansson.h>
#include <linux/sched.h>
#include <stdbool.h>
#include <sys/types.h>

#include "err.h"

/*
 * Hand the controllers down and make the container's cgroup, with a limit on its CPU time that `cgroup_create` sets
 * right. At boot: the first limits of a kernel have it patch its own code in many places while its other CPUs run it.
 * That takes a while, and emulation may get it wrong (docs/decisions/0008), so machines are saved with it behind
 * them.
 */
void cgroup_prepare(void);

/* Make the cgroup with the limits of a ContainerSpec; its directory as a descriptor, -1 without cgroups, or -errno. */
int cgroup_create(const json_t *container, struct err *e);

/*
 * clone3(2) into the container's cgroup, if there is one: the one that was created, or that of its process `init` once
 * that, a systemd say, has moved to a cgroup below to hand the controllers down. The pid, 0 in the child, or -errno.
 */
pid_t cgroup_clone(struct clone_args *how, int created, pid_t init);

/* Whether the out-of-memory killer struck since cgroup_create. */
bool cgroup_oom_killed(void);

/* KILL everything in it. */
void cgroup_kill(void);

#endif
