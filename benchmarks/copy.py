"""`cp` of a large file and of many small ones against `tar | container exec -i tar`, both ways."""

import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from support.system import System

from benchmarks.measure import Result

NAME = "bench-copy"
LARGE, DIRECTORIES, FILES, SMALL = 500_000_000, 100, 100, 2000  # bytes; FILES of SMALL bytes a directory
ROUNDS = 3


def measure(system: System) -> list[Result]:
    """Medians of rounds in turn. The host's side is in memory, where it can be: its disk is not what is measured."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    system.run("run", "-d", "--name", NAME, "-c", "1", "-m", "512m", "busybox", "sleep", "100000")
    try:
        with tempfile.TemporaryDirectory(dir=memory) as scratch:
            trees = {"500 MB": _large(Path(scratch, "large")), "10,000 files": _many(Path(scratch, "many"))}
            return [item for what, tree in trees.items() for item in _both_ways(system, what, tree)]
    finally:
        system.run("delete", "-f", NAME)


def _large(tree: Path) -> Path:
    tree.mkdir()
    with Path(tree, "file").open("wb") as file:
        for _ in range(LARGE // 1_000_000):
            file.write(os.urandom(1_000_000))
    return tree


def _many(tree: Path) -> Path:
    for directory in range(DIRECTORIES):
        Path(tree, str(directory)).mkdir(parents=True)
        for file in range(FILES):
            Path(tree, str(directory), str(file)).write_bytes(os.urandom(SMALL))
    return tree


def _both_ways(system: System, what: str, tree: Path) -> list[Result]:
    out = tree.with_name("out")
    box = " ".join(system.command("exec", "-i", NAME))

    def clean_in() -> None:
        system.run("exec", NAME, "sh", "-c", "rm -rf /w; mkdir /w; sync")

    def clean_out() -> None:
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()

    def shell(script: str) -> Callable[[], object]:
        return lambda: subprocess.run(["sh", "-ec", script], env=system.environment, check=True)

    tar_in = shell(f"tar -C {tree.parent} -cf - {tree.name} | {box} tar -C /w -xf -")
    tar_out = shell(f"{box} tar -C /w -cf - {tree.name} < /dev/null | tar -C {out} -xf -")
    into = _ratio(clean_in, lambda: system.run("cp", str(tree), f"{NAME}:/w"), tar_in)
    from_ = _ratio(clean_out, lambda: system.run("cp", f"{NAME}:/w/{tree.name}", str(out)), tar_out)
    shutil.rmtree(out)
    return [
        Result(f"cp of {what} into a container / tar | exec tar", into[0], 1.0, detail=into[1]),
        Result(f"cp of {what} from a container / exec tar | tar", from_[0], 1.0, detail=from_[1]),
    ]


def _ratio(clean: Callable[[], None], ours: Callable[[], object], theirs: Callable[[], object]) -> tuple[float, str]:
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for work, kept in zip((theirs, ours), times, strict=True):
            clean()
            began = time.perf_counter()
            work()
            kept.append(time.perf_counter() - began)
    other, own = (statistics.median(kept) for kept in times)
    return own / other, f"{own:.2f} s against {other:.2f} s"
