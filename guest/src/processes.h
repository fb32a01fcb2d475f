/* The table of processes: shared by start.c (until a process runs) and process.c (from then on). */
#ifndef PROCESSES_H
#define PROCESSES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "loop.h"

enum { PROCESSES_MAX = 1024, ID_MAX = 128 };

struct process {
    struct process *next;
    char id[ID_MAX];
    pid_t pid;
    int pidfd;
    bool init, failed, exited;
    int code;
    int ended_as;        /* the signal in whose place it was killed, 0 */
    uint32_t request;    /* the start that waits for its answer, 0 = answered */
    struct watch status; /* reports of the child, until it runs its program */
    bool terminal;
    int master;         /* its terminal, -1 */
    uint32_t stream[3]; /* 0 = none */
};

/* The container that runs: what an exec joins and inherits. */
struct container {
    const struct process *init; /* NULL = none runs */
    uint64_t capabilities;
    bool no_new_privileges;
    int cgroup; /* its directory, -1 */
};

extern struct container container;

struct process *process_find(const char *id);
int process_count(void);
void process_add(struct process *process);

/* Forget it: descriptors closed, memory freed. */
void process_destroy(struct process *process);

/* It ended, and its start was answered: streams end, the host is told, it is forgotten. */
void process_finish(struct process *process);

#endif
