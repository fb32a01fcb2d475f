#include "init.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* Exits when `child` is among the dead. */
static void reap(pid_t child) {
    int status;
    pid_t dead;
    while ((dead = waitpid(-1, &status, WNOHANG)) > 0)
        if (dead == child)
            _exit(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
}

int init_become(struct err *e) {
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL); /* a blocked signal reaches even a PID 1 without handlers */
    pid_t child = fork();
    if (child < 0)
        return err_set(e, errno, "failed to fork the container's init");
    if (child == 0)
        return 0;
    close_range(0, ~0U, 0); /* the program's streams must end with the program */
    for (;;) {
        siginfo_t info;
        int number = sigwaitinfo(&all, &info);
        if (number == SIGCHLD)
            reap(child);
        else if (number > 0)
            kill(child, number);
    }
}
