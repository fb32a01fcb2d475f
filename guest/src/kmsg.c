/* The kernel's messages, as dmesg(1) shows them (syslog(2)). */
#include <errno.h>
#include <stdlib.h>
#include <sys/klog.h>

#include "dispatch.h"

enum { READ_ALL = 3, BUFFER_SIZE = 10, TEXT_MAX = 512 * 1024 };

int op_kernel_log(uint32_t number, const json_t *args, json_t **result, struct err *e) {
    int size = klogctl(BUFFER_SIZE, NULL, 0);
    (void)number, (void)args;
    if (size > TEXT_MAX)
        size = TEXT_MAX; /* the newest */
    char *text = size > 0 ? malloc((size_t)size) : NULL;
    int got = text ? klogctl(READ_ALL, text, size) : -1;
    for (int i = 0; i < got; i++)
        if (text[i] & 0x80) /* JSON is UTF-8, and these need not be */
            text[i] = '?';
    if (got >= 0)
        *result = json_pack("{s:s%}", "text", text, (size_t)got);
    int status = *result ? 0 : err_set(e, got < 0 ? errno : ENOMEM, "failed to read the kernel's messages");
    free(text);
    return status;
}
