#include "caps.h"

#include <errno.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char *const names[] = {
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
};

enum { COUNT = sizeof names / sizeof names[0] };

#define BIT(name) (UINT64_C(1) << CAP_##name)
static const uint64_t standard = BIT(CHOWN) | BIT(DAC_OVERRIDE) | BIT(FSETID) | BIT(FOWNER) | BIT(MKNOD) |
                                 BIT(NET_RAW) | BIT(SETGID) | BIT(SETUID) | BIT(SETFCAP) | BIT(SETPCAP) |
                                 BIT(NET_BIND_SERVICE) | BIT(SYS_CHROOT) | BIT(KILL) | BIT(AUDIT_WRITE);

int caps_parse(const json_t *list, uint64_t *set, struct err *e) {
    const json_t *item;
    size_t index;
    *set = json_is_array(list) ? 0 : standard;
    json_array_foreach(list, index, item) {
        const char *text = json_string_value(item);
        int found = -1;
        for (int i = 0; text && strncmp(text, "CAP_", 4) == 0 && i < COUNT; i++)
            if (strcmp(names[i], text + 4) == 0)
                found = i;
        if (found < 0)
            return err_set(e, EINVAL, "unknown capability %s", text ? text : "");
        *set |= UINT64_C(1) << found;
    }
    return 0;
}

int caps_bound(uint64_t set, struct err *e) {
    for (int i = 0; i < 64; i++) {
        if (set & (UINT64_C(1) << i))
            continue;
        if (prctl(PR_CAPBSET_DROP, i, 0, 0, 0) < 0) {
            if (errno == EINVAL) /* past the kernel's last */
                break;
            return err_set(e, errno, "failed to drop capability %d", i);
        }
    }
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    return 0;
}

int caps_apply(uint64_t set, struct err *e) {
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {
        {.effective = (uint32_t)set, .permitted = (uint32_t)set},
        {.effective = (uint32_t)(set >> 32), .permitted = (uint32_t)(set >> 32)},
    };
    /* bits that this kernel does not know are refused: keep to what we hold */
    struct __user_cap_data_struct held[2];
    if (syscall(SYS_capget, &head, held) == 0)
        for (int i = 0; i < 2; i++) {
            data[i].permitted &= held[i].permitted;
            data[i].effective &= held[i].permitted;
        }
    return syscall(SYS_capset, &head, data) < 0 ? err_set(e, errno, "failed to set capabilities") : 0;
}
