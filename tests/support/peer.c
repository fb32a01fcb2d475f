/*
 * A peer for sockets in containers, static so that it runs in any image.
 *
 *   peer unix PATH     standard input to a unix socket and what it answers to
 * standard output, half-close kept peer upper PATH    serve a unix socket:
 * answer in capitals peer echo PORT     serve TCP and UDP, IPv4 and IPv6: send
 * back what comes
 */
#include <ctype.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static char buffer[65536];

static int put(int fd, const char *bytes, ssize_t length) {
  while (length > 0) {
    ssize_t wrote = write(fd, bytes, (size_t)length);
    if (wrote <= 0)
      return -1;
    bytes += wrote;
    length -= wrote;
  }
  return 0;
}

static int fail(const char *what) {
  perror(what);
  return 1;
}

static void serve(int listener, int capitals) {
  ssize_t got;
  int fd = accept(listener, NULL, NULL);
  if (fd < 0 || fork() != 0) {
    close(fd);
    return;
  }
  while ((got = read(fd, buffer, sizeof buffer)) > 0) {
    for (ssize_t i = 0; capitals && i < got; i++)
      buffer[i] = (char)toupper(buffer[i]);
    if (put(fd, buffer, got) < 0)
      break;
  }
  _exit(0);
}

static int pump(int fd) {
  struct pollfd wait[2] = {{.fd = 0, .events = POLLIN},
                           {.fd = fd, .events = POLLIN}};
  for (;;) {
    poll(wait, 2, -1);
    if (wait[0].fd >= 0 && wait[0].revents) {
      ssize_t got = read(0, buffer, sizeof buffer);
      if (got <= 0) {
        shutdown(fd, SHUT_WR);
        wait[0].fd = -1;
      } else if (put(fd, buffer, got) < 0) {
        return fail("write");
      }
    }
    if (wait[1].revents) {
      ssize_t got = read(fd, buffer, sizeof buffer);
      if (got <= 0)
        return got < 0 ? fail("read") : 0;
      put(1, buffer, got);
    }
  }
}

static int local(const char *path, int server) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
  if (!server)
    return connect(fd, (struct sockaddr *)&address, sizeof address) < 0
               ? fail(path)
               : pump(fd);
  if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 ||
      listen(fd, 128) < 0)
    return fail(path);
  for (;;)
    serve(fd, 1);
}

static int echo(int port) {
  struct sockaddr_in6 address = {.sin6_family = AF_INET6,
                                 .sin6_port = htons((uint16_t)port)};
  int tcp = socket(AF_INET6, SOCK_STREAM, 0),
      udp = socket(AF_INET6, SOCK_DGRAM, 0);
  if (bind(tcp, (struct sockaddr *)&address, sizeof address) < 0 ||
      listen(tcp, 128) < 0 ||
      bind(udp, (struct sockaddr *)&address, sizeof address) < 0)
    return fail("bind");
  struct pollfd wait[2] = {{.fd = tcp, .events = POLLIN},
                           {.fd = udp, .events = POLLIN}};
  for (;;) {
    poll(wait, 2, -1);
    if (wait[0].revents)
      serve(tcp, 0);
    if (wait[1].revents) {
      struct sockaddr_in6 peer;
      socklen_t size = sizeof peer;
      ssize_t got = recvfrom(udp, buffer, sizeof buffer, 0,
                             (struct sockaddr *)&peer, &size);
      if (got >= 0)
        sendto(udp, buffer, (size_t)got, 0, (struct sockaddr *)&peer, size);
    }
  }
}

int main(int argc, char **argv) {
  if (argc != 3)
    return 64;
  if (strcmp(argv[1], "echo") == 0)
    return echo(atoi(argv[2]));
  return local(argv[2], strcmp(argv[1], "upper") == 0);
}
