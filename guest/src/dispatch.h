/* Requests to operations: one table. An operation lives in the file of its subject. */
#ifndef DISPATCH_H
#define DISPATCH_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

/* Returned by an operation that will answer later with dispatch_reply or dispatch_fail. */
enum { DEFERRED = 1 };

/* 0 (with an optional `*result` that passes to the caller), DEFERRED, or -errno with `e` filled. */
typedef int (*operation)(uint32_t number, const json_t *args, json_t **result, struct err *e);

int op_rootfs(uint32_t number, const json_t *args, json_t **result, struct err *e);
int op_volumes(uint32_t number, const json_t *args, json_t **result, struct err *e);
int op_fill(uint32_t number, const json_t *args, json_t **result, struct err *e);
int op_files(uint32_t number, const json_t *args, json_t **result, struct err *e);
int op_network(uint32_t number, const json_t *args, json_t **result, struct err *e);
int op_sysctl(uint32_t number, const json_t *args, json_t **result, struct err *e);
int op_start(uint32_t number, const json_t *args, json_t **result, struct err *e);
int op_signal(uint32_t number, const json_t *args, json_t **result, struct err *e);
int op_resize(uint32_t number, const json_t *args, json_t **result, struct err *e);
int op_statistics(uint32_t number, const json_t *args, json_t **result, struct err *e);
int op_sync(uint32_t number, const json_t *args, json_t **result, struct err *e);
int op_trim(uint32_t number, const json_t *args, json_t **result, struct err *e);
int op_time(uint32_t number, const json_t *args, json_t **result, struct err *e);
int op_copy_in(uint32_t number, const json_t *args, json_t **result, struct err *e);
int op_copy_out(uint32_t number, const json_t *args, json_t **result, struct err *e);
int op_export(uint32_t number, const json_t *args, json_t **result, struct err *e);
int op_layer(uint32_t number, const json_t *args, json_t **result, struct err *e);
int op_changes(uint32_t number, const json_t *args, json_t **result, struct err *e);
int op_replay(uint32_t number, const json_t *args, json_t **result, struct err *e);
int op_kernel_log(uint32_t number, const json_t *args, json_t **result, struct err *e);
int op_listen(uint32_t number, const json_t *args, json_t **result, struct err *e);
int op_connect(uint32_t number, const json_t *args, json_t **result, struct err *e);
int op_shutdown(uint32_t number, const json_t *args, json_t **result, struct err *e);

/* Handlers of mux.h. */
void dispatch_hello(const char *text, size_t length);
void dispatch_request(uint32_t number, const char *text, size_t length);

/* Answers; `result` may be NULL and is consumed. */
void dispatch_reply(uint32_t number, json_t *result);
void dispatch_fail(uint32_t number, const struct err *e);

/* An event; consumed. */
void dispatch_event(json_t *event);

#endif
