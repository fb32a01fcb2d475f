"""One TCP stream to a virtual machine: through the network's rules, and through a published port."""

import json
import statistics
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from support import ports
from support.system import System, settle

from benchmarks.measure import Result
from container.linux import native
from container.linux.netns import Namespace

PORT, SIZE, ROUNDS = "7000", str(64 << 20), 16
Rate = Callable[[], str | bytes]
SMALL = ("-d", "-c", "1", "-m", "256m")
# `stream PORT` serves bytes without end; `stream ADDRESS PORT BYTES` fetches so many and prints how many a second.
PROGRAM = r"""
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
static char block[1 << 18];
int main(int argc, char **argv) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[argc == 2 ? 1 : 2]))};
    int sock = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    struct timespec from, until;
    long got, left = argc == 2 ? 0 : atol(argv[3]), size = left;
    if (argc == 2) {
        signal(SIGCHLD, SIG_IGN);
        signal(SIGPIPE, SIG_IGN);
        setsockopt(sock, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (bind(sock, (void *)&to, sizeof to) < 0 || listen(sock, 8) < 0) return 1;
        for (;;) {
            int peer = accept(sock, NULL, NULL);
            if (fork() == 0) {
                while (write(peer, block, sizeof block) > 0);
                return 0;
            }
            close(peer);
        }
    }
    inet_pton(AF_INET, argv[1], &to.sin_addr);
    if (connect(sock, (void *)&to, sizeof to) < 0) return 2;
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (; left > 0; left -= got)
        if ((got = read(sock, block, sizeof block)) <= 0) return 3;
    clock_gettime(CLOCK_MONOTONIC, &until);
    printf("%.0f\n", size / (until.tv_sec - from.tv_sec + (until.tv_nsec - from.tv_nsec) / 1e9));
}
"""


def measure(system: System) -> list[Result]:
    """Two containers of one network; the second serves, and publishes its port. Needs to be root."""
    with tempfile.TemporaryDirectory(prefix="container-bench-") as scratch:
        program = Path(scratch, "stream")
        program.with_suffix(".c").write_text(PROGRAM)
        subprocess.run(["gcc", "-O2", "-static", "-o", program, program.with_suffix(".c")], check=True)
        port, share = str(ports.reserve()), ("-v", f"{scratch}:/share")
        system.run("run", *SMALL, "--name", "bench-a", *share, "busybox", "sleep", "100000")
        command = ("busybox", "/share/stream", PORT)
        system.run("run", *SMALL, "--name", "bench-b", *share, "-p", f"127.0.0.1:{port}:{PORT}", *command)
        try:
            probe = [program, "127.0.0.1", port, "1"]
            assert settle(lambda: subprocess.run(probe, capture_output=True).returncode == 0, bool, 60)
            (attachment,) = system.inspect("bench-b")["status"]["networks"]
            state = json.loads(Path(system.environment["CONTAINER_RUN_ROOT"], "networks/default.json").read_text())
            with Namespace.of(state["holder"]["pid"]) as namespace:
                address = attachment["ipv4Address"].partition("/")[0]
                return [_published(namespace, program, address, port), _bridged(system, namespace, address)]
        finally:
            system.run("delete", "-f", "bench-a", "bench-b")


def _published(namespace: Namespace, program: Path, address: str, port: str) -> Result:
    return _compared(
        "one stream through a published port, against the same inside the network",
        0.6,
        lambda: subprocess.check_output([program, "127.0.0.1", port, SIZE]),
        lambda: _inside(namespace, str(program), address, PORT, SIZE),
    )


def _bridged(system: System, namespace: Namespace, address: str) -> Result:
    """The same two machines on the same bridge, with the network's rules and without any."""
    rules = _inside(namespace, "nft", "list", "ruleset")
    fetch = ("exec", "bench-a", "/share/stream", address, PORT, SIZE)

    def bare() -> str:
        _inside(namespace, "nft", "flush", "ruleset")
        try:
            return system.output(*fetch)
        finally:
            _inside(namespace, "nft", "-f", "-", data=rules)

    promise = "one stream from container to container, against the same on a bare bridge"
    return _compared(promise, 0.9, lambda: system.output(*fetch), bare)


def _compared(promise: str, target: float, ours: Rate, other: Rate) -> Result:
    """Median of the ratios of runs next to each other; which goes first changes, since a noisy machine drifts."""
    rates = []
    for number in range(ROUNDS):
        if number % 2:
            second, first = float(other()), float(ours())
        else:
            first, second = float(ours()), float(other())
        rates.append((first, second))
    medians = [statistics.median(column) / 1e6 for column in zip(*rates, strict=True)]
    ratio = statistics.median(first / second for first, second in rates)
    detail = f"medians {medians[0]:.0f} MB/s against {medians[1]:.0f} MB/s"
    return Result(promise, ratio, target, at_least=True, detail=detail)


def _inside(namespace: Namespace, *command: str, data: str | None = None) -> str:
    words = [native.program("container-netns"), "exec", *namespace.options, *command]
    return subprocess.run(
        words, input=data, pass_fds=namespace.descriptors, check=True, text=True, stdout=subprocess.PIPE
    ).stdout
