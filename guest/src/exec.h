/* The child's side of a process start: from the agent's copy to the program, and what went wrong on the way. */
#ifndef EXEC_H
#define EXEC_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdnoreturn.h>

#include "err.h"

struct launch {
    const json_t *process;   /* ProcessConfiguration */
    const json_t *container; /* ContainerSpec for the init process, NULL for an exec */
    const json_t *size;      /* of the terminal, or NULL */
    int container_pidfd;     /* whose namespaces to join, exec */
    int stdio[3];            /* -1 = /dev/null; unused with a terminal */
    int status;              /* SOCK_SEQPACKET to the agent, closed by a successful exec */
    bool terminal;
    bool no_new_privileges;
    uint64_t capabilities;
};

/* What travels on `status`: an error, or the terminal's master as SCM_RIGHTS. End of file = the program runs. */
struct exec_report {
    enum { REPORT_ERROR = 1, REPORT_TERMINAL } kind;
    struct err error;
};

noreturn void exec_child(const struct launch *launch);

#endif
