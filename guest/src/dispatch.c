#include "dispatch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>

#include "agent.h"
#include "args.h"
#include "log.h"
#include "modules.h"
#include "mux.h"
#include "process.h"
#include "proto.h"
#include "relay.h"
#include "socket.h"
#include "system.h"
#include "transfer.h"

/* Does nothing: that it is answered tells the host that the guest goes on. */
static int op_ping(uint32_t number, const json_t *args, json_t **result, struct err *e) {
    (void)number, (void)args, (void)result, (void)e;
    return 0;
}

static const struct {
    const char *name;
    operation run;
} table[] = {
    {"rootfs.mount", op_rootfs},
    {"volumes.mount", op_volumes},
    {"files.write", op_files},
    {"network.configure", op_network},
    {"sysctl.set", op_sysctl},
    {"process.start", op_start},
    {"process.signal", op_signal},
    {"process.resize", op_resize},
    {"statistics", op_statistics},
    {"filesystem.sync", op_sync},
    {"filesystem.trim", op_trim},
    {"time.set", op_time},
    {"copy.in", op_copy_in},
    {"copy.out", op_copy_out},
    {"tree.export", op_export},
    {"tree.layer", op_layer},
    {"tree.changes", op_changes},
    {"share.replay", op_replay},
    {"kernel.log", op_kernel_log},
    {"socket.listen", op_listen},
    {"socket.connect", op_connect},
    {"volume.fill", op_fill},
    {"ping", op_ping},
    {"shutdown", op_shutdown},
};

static void send_json(uint8_t kind, uint32_t number, json_t *message) {
    char *text = message ? json_dumps(message, JSON_COMPACT) : NULL;
    if (text)
        mux_send_message(kind, number, text, strlen(text));
    else
        log_line("out of memory: a message is lost");
    free(text);
    json_decref(message);
}

void dispatch_reply(uint32_t number, json_t *result) {
    send_json(KIND_REPLY, number, json_pack("{s:o}", "result", result ? result : json_object()));
}

void dispatch_fail(uint32_t number, const struct err *e) {
    json_t *body = json_pack("{s:s, s:i, s:s+}", "code", err_name(e), "errno", e->number, "message", e->text, "");
    if (!body) /* the sentence quotes bytes that are not UTF-8 */
        body = json_pack("{s:s, s:i, s:s}", "code", err_name(e), "errno", e->number, "message", strerror(e->number));
    if (body && e->exit_code)
        json_object_set_new(body, "exitCode", json_integer(e->exit_code));
    send_json(KIND_REPLY, number, json_pack("{s:o}", "error", body));
}

void dispatch_event(json_t *event) {
    send_json(KIND_EVENT, STREAM_CONTROL, event);
}

static json_t *boot_id(void) {
    char text[64] = "";
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (file) {
        if (fgets(text, sizeof text, file))
            text[strcspn(text, "\n")] = 0;
        fclose(file);
    }
    return json_string(text);
}

void dispatch_hello(const char *text, size_t length) {
    static int greeted;
    struct timespec now;
    struct utsname system;
    json_error_t why;
    json_t *hello = json_loadb(text ? text : "", length, 0, &why);
    long long version = args_integer(hello, "version", 0);
    const char *seed = args_string(hello, "seed", NULL);
    int status = seed && agent.pid1 ? system_seed(seed) : 0; /* before anything here is random: see proto.h */
    json_decref(hello);
    if (status < 0)
        log_line("the random pool is not seeded: %s", strerror(-status));
    if (version != PROTO_VERSION)
        log_line("the host speaks protocol version %lld, this agent %d", version, PROTO_VERSION);
    socket_reset_all();
    relay_reset_all();
    transfer_reset_all();
    process_void_requests();
    clock_gettime(CLOCK_BOOTTIME, &now);
    uname(&system);
    send_json(KIND_HELLO, STREAM_CONTROL,
              json_pack("{s:i, s:s, s:s, s:s, s:I, s:I, s:o}", "version", PROTO_VERSION, "agent", AGENT_VERSION,
                        "kernel", system.release, "machine", system.machine, "uptimeMs",
                        (json_int_t)(now.tv_sec * 1000 + now.tv_nsec / 1000000), "startedMs",
                        (json_int_t)agent.started_ms, "bootId", boot_id()));
    if (agent.pid1 && !greeted++)
        modules_rest(); /* while the host makes up its mind */
}

static operation lookup(const char *name) {
    for (size_t i = 0; name && i < sizeof table / sizeof table[0]; i++)
        if (strcmp(table[i].name, name) == 0)
            return table[i].run;
    return NULL;
}

void dispatch_request(uint32_t number, const char *text, size_t length) {
    struct err e = {0};
    json_error_t why;
    json_t *result = NULL;
    json_t *args = json_loadb(text ? text : "", length, JSON_REJECT_DUPLICATES, &why);
    const char *name = args_string(args, "op", NULL);
    operation run = lookup(name);
    int status;
    if (!args || !name)
        status = err_code(&e, "invalidArgument", EINVAL, "malformed request: %s", args ? "no op" : why.text);
    else if (!run)
        status = err_code(&e, "unsupported", ENOSYS, "unknown operation %.64s", name);
    else
        status = run(number, args, &result, &e);
    if (status == 0)
        dispatch_reply(number, result);
    else if (status < 0)
        dispatch_fail(number, &e);
    json_decref(args);
}
