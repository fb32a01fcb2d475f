"""Disks of a container against a raw disk of the same machine, the making of a writable layer, shared directories."""

import statistics
import subprocess
import tarfile
import tempfile
from io import BytesIO
from pathlib import Path

from support.system import System

from benchmarks.measure import Result, seconds
from container.plugins.runtime import upper

NAME = "bench-storage"
ROUNDS, SIZE, FILES = 3, 64 << 20, 10_000
MODES = ("seqwrite", "seqread", "randwrite", "randread")
# Direct I/O: 1 MiB blocks in sequence, or 4 KiB blocks at random places of a file or disk that has been written before.
PROGRAM = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
int main(int argc, char **argv) {
    int write_it = strstr(argv[1], "write") != NULL, random_it = strncmp(argv[1], "rand", 4) == 0;
    long size = atol(argv[3]), block = random_it ? 4096 : 1 << 20, count = random_it ? 1500 : size / block;
    struct timespec from, to;
    char *data;
    int fd = open(argv[2], O_RDWR | O_CREAT | O_DIRECT, 0600);
    if (argc < 4 || fd < 0 || posix_memalign((void **)&data, 4096, 1 << 20)) return 1;
    memset(data, 'x', 1 << 20);
    if (lseek(fd, 0, SEEK_END) < size)
        for (long at = 0; at < size; at += 1 << 20) if (pwrite(fd, data, 1 << 20, at) < 0) return 2;
    fsync(fd);
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (long i = 0; i < count; i++) {
        long at = random_it ? (random() % (size / block)) * block : i * block;
        if ((write_it ? pwrite(fd, data, block, at) : pread(fd, data, block, at)) != block) return 3;
    }
    if (fdatasync(fd) < 0) return 4;
    clock_gettime(CLOCK_MONOTONIC, &to);
    printf("%.1f\n", count / (to.tv_sec - from.tv_sec + (to.tv_nsec - from.tv_nsec) / 1e9));
    return 0;
}
"""


def measure(system: System) -> list[Result]:
    """One container with two volumes, one of which is used as a raw disk, and a shared directory."""
    with tempfile.TemporaryDirectory(prefix="container-bench-") as scratch:
        _prepare(Path(scratch))
        binds = ["-v", f"{scratch}:/share", "-v", "bench-v:/v", "-v", "bench-raw:/raw"]
        system.run("run", "-d", "--name", NAME, "-c", "1", "-m", "512m", *binds, "busybox", "sleep", "100000")
        try:
            return [*_blocks(system), _creation(Path(scratch)), _metadata(system)]
        finally:
            system.run("delete", "-f", NAME)
            system.run("volume", "delete", "bench-v", "bench-raw")


def _prepare(scratch: Path) -> None:
    (scratch / "io.c").write_text(PROGRAM)
    subprocess.run(["gcc", "-O2", "-static", "-o", scratch / "io", scratch / "io.c"], check=True)
    with tarfile.open(scratch / "files.tar", "w") as archive:
        for number in range(FILES):
            info = tarfile.TarInfo(f"files/{number // 100}/{number}")
            info.size = 100
            archive.addfile(info, BytesIO(b"x" * info.size))


def _shell(system: System, script: str) -> str:
    return system.output("exec", NAME, "sh", "-c", script, timeout=600)


def _blocks(system: System) -> list[Result]:
    """Each mode on the writable layer, the volume and the raw disk in turn, so that a noisy machine hits all alike."""
    _shell(system, "mknod /disk b $(sed 's/:/ /' /sys/block/$(mount | grep ' /raw ' | cut -d' ' -f1 | cut -c6-)/dev)")
    targets = {"writable layer": "/file", "volume": "/v/file", "raw": "/disk"}
    rates: dict[tuple[str, str], list[float]] = {}
    for _ in range(ROUNDS):
        for mode in MODES:
            for name, path in targets.items():
                rate = float(_shell(system, f"/share/io {mode} {path} {SIZE}"))
                rates.setdefault((name, mode), []).append(rate)
    results = []
    for name in list(targets)[:-1]:
        for mode in MODES:
            own, raw = statistics.median(rates[name, mode]), statistics.median(rates["raw", mode])
            detail = f"{own:.0f} against {raw:.0f} blocks/s"
            results.append(Result(f"{mode} on the {name} / raw disk", own / raw, 0.9, at_least=True, detail=detail))
    return results


def _creation(scratch: Path) -> Result:
    bundle, cache = scratch / "bundle", scratch / "cache"
    bundle.mkdir()

    def make() -> None:
        (bundle / upper.NAME).unlink(missing_ok=True)
        upper.ensure(str(bundle), str(cache))

    return Result("creation of the writable layer", seconds(make, 20) * 1000, 20, "ms")


def _metadata(system: System) -> Result:
    """Reported, not promised: each file on a share is several round trips to the host."""
    clock = "s=$(cut -d' ' -f1 /proc/uptime); tar xf /share/files.tar -C {}; sync; e=$(cut -d' ' -f1 /proc/uptime)"
    times = [float(_shell(system, clock.format(place) + '; awk "BEGIN {print $e - $s}"')) for place in ("/v", "/share")]
    detail = f"{times[1]:.1f} s against {times[0]:.1f} s"
    return Result(f"untar of {FILES} files on a bind mount / volume", times[1] / times[0], float("inf"), detail=detail)
