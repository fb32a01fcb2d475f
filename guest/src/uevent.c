#include "uevent.h"

#include <errno.h>
#include <linux/netlink.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loop.h"

static int wait_for(int fd, bool (*found)(void *), void *context, int ms) {
    uint64_t end = loop_now() + (uint64_t)ms;
    char event[8192];
    while (!found(context)) {
        uint64_t now = loop_now();
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        if (now >= end || poll(&wait, 1, (int)(end - now)) == 0)
            return -ETIMEDOUT;
        while (recv(fd, event, sizeof event, MSG_DONTWAIT) > 0)
            continue;
    }
    return 0;
}

int uevent_until(bool (*found)(void *context), void *context, int ms) {
    struct sockaddr_nl group = {.nl_family = AF_NETLINK, .nl_groups = 1};
    if (found(context)) /* mostly it is there already: one look, no socket */
        return 0;
    int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);
    if (fd < 0)
        return -errno;
    int status = bind(fd, (struct sockaddr *)&group, sizeof group) < 0 ? -errno : wait_for(fd, found, context, ms);
    close(fd);
    return status;
}
