#include "tty.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "args.h"

int tty_resize(int master, const json_t *size, struct err *e) {
    long long columns = args_integer(size, "columns", -1), rows = args_integer(size, "rows", -1);
    if (columns < 0 || rows < 0 || columns > 65535 || rows > 65535)
        return err_set(e, EINVAL, "a terminal cannot have this size");
    struct winsize window = {.ws_col = (unsigned short)columns, .ws_row = (unsigned short)rows};
    return ioctl(master, TIOCSWINSZ, &window) < 0 ? err_set(e, errno, "failed to resize the terminal") : 0;
}

int tty_open(int *master, int *slave, char *name, size_t name_size, const json_t *size, struct err *e) {
    int unlock = 0, index = 0;
    *master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (*master < 0)
        return err_set(e, errno, "failed to open /dev/ptmx in the container");
    if (ioctl(*master, TIOCSPTLCK, &unlock) < 0 || ioctl(*master, TIOCGPTN, &index) < 0)
        return err_set(e, errno, "failed to unlock a terminal");
    *slave = ioctl(*master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (*slave < 0)
        return err_set(e, errno, "failed to open the terminal");
    snprintf(name, name_size, "/dev/pts/%d", index);
    return size ? tty_resize(*master, size, e) : 0;
}

int tty_take(int slave, uid_t owner, struct err *e) {
    if (fchown(slave, owner, (gid_t)-1) < 0 && errno != EPERM)
        return err_set(e, errno, "failed to give the terminal to user %u", owner);
    if (ioctl(slave, TIOCSCTTY, 0) < 0)
        return err_set(e, errno, "failed to take the controlling terminal");
    for (int fd = 0; fd <= 2; fd++)
        if (dup2(slave, fd) < 0)
            return err_set(e, errno, "failed to take the terminal as standard stream");
    return 0;
}
