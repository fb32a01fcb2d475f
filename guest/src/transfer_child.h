/* What the child of a transfer does, between the agent's fork and its own end. */
#ifndef TRANSFER_CHILD_H
#define TRANSFER_CHILD_H

#include <stdbool.h>

#include "err.h"

/* Descriptors of the child. */
enum { CHILD_DATA = 3, CHILD_STATUS, CHILD_CONTAINER };

struct job {
    int (*run)(const struct job *job, struct err *e);
    const char *path;
    bool in_container; /* it sees the container's mounts */
    bool input;        /* the stream comes from the host */
    bool freezes;      /* writers to the root file system wait meanwhile; the agent lets them go on */
    bool whole;        /* the stream is all there is: owners and attributes count, and no name is replaced */
};

/* Enter the container's mount namespace if the job is in it, and do the job; `e` has its failure. */
void transfer_child(const struct job *job, struct err *e);

int job_copy_in(const struct job *job, struct err *e);
int job_copy_out(const struct job *job, struct err *e);
int job_export(const struct job *job, struct err *e);
int job_layer(const struct job *job, struct err *e);
int job_changes(const struct job *job, struct err *e);
int job_replay(const struct job *job, struct err *e);

#endif
