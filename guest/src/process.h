/* Processes that the host asked for: the container's init process and execs. */
#ifndef PROCESS_H
#define PROCESS_H

/* Begin to reap (signalfd); 0 or -errno. */
int process_init(void);

/* KILL every process of the container and wait for them, `ms` at most. */
void process_kill_all(int ms);

/* Requests that wait are void (a new HELLO): they get no reply. */
void process_void_requests(void);

#endif
