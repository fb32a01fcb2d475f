"""Whatever order things are made, run, killed and removed in, nothing is left: processes, namespaces, links, sockets.

`CONTAINER_CYCLES` sets how many cycles are run (12; the promise is made for 50), `CONTAINER_SEED` repeats an order.
"""

import contextlib
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from support import ports
from support.system import System, settle

pytestmark = pytest.mark.vm
CYCLES = int(os.environ.get("CONTAINER_CYCLES", "12"))
NETWORKS = ("cycle-a", "cycle-b", "cycle-inner")
KILLABLE = ("runtime", "network", "apiserver", "qemu", "relay", "nothing", "nothing")


class Census:
    """What this machine has that could have come from the system under test."""

    def __init__(self, system: System) -> None:
        self.processes = {" ".join(words) for words in _others(system).values()}
        self.namespaces = _namespaces(system)
        self.links = {name for name in os.listdir("/sys/class/net") if name.startswith("ctr")}
        tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=False).stdout
        self.tables = {line for line in tables.splitlines() if " ctr" in line}
        base = system.base
        self.files = {
            str(path.relative_to(base))
            for root in ("run", "app/containers", "app/networks")
            for path in (base / root).rglob("*")
            if path.is_socket() or path.parent.name in ("containers", "networks")
        }

    def more_than(self, other: "Census") -> dict[str, set[str]]:
        """What is here and was not in `other`."""
        found = {name: value - getattr(other, name) for name, value in vars(self).items()}
        return {name: value for name, value in found.items() if value}


def _others(system: System) -> dict[int, list[str]]:
    """Processes of the system, with those that were started without its environment: their arguments tell."""
    marks = (str(system.base), *NETWORKS)
    found = dict(system.processes())
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
                if any(mark in word for mark in marks for word in words):
                    found[int(entry.name)] = words
    return {pid: words for pid, words in found.items() if "pytest" not in " ".join(words)}


def _namespaces(system: System) -> set[str]:
    found = set()
    for pid in _others(system):
        with contextlib.suppress(OSError):
            found.add(os.readlink(f"/proc/{pid}/ns/net"))
    return found


class Cycles:
    """Random life on a few networks, at most two containers at a time."""

    def __init__(self, system: System, dice: random.Random) -> None:
        self.system, self.dice = system, dice
        self.containers: list[str] = []
        self.failures: list[str] = []

    def ask(self, *arguments: str) -> None:
        """Run a command; it may fail by what was killed, but only with a message."""
        began = time.monotonic()
        result = self.system.run(*arguments, check=False, timeout=90)
        print(f"{time.monotonic() - began:5.2f} s  {' '.join(arguments)}")
        if result.returncode:
            assert "Error: " in result.stderr, (arguments, result)
            assert "Traceback" not in result.stderr
            self.failures.append(f"{arguments}: {result.stderr.strip()}")

    def one(self, number: int) -> None:
        """Make a container, mostly run it, mostly kill something, and remove one."""
        name, dice = f"cycle{number}", self.dice
        networks = dice.sample(("default", *NETWORKS), dice.randint(1, 2))
        for network in networks:
            if network not in self.system.output("network", "list", "-q").split():
                self.ask("network", "create", *(["--internal"] if "inner" in network else []), network)
        attached = [word for network in networks for word in ("--network", network)]
        published = ["-p", f"127.0.0.1:{ports.reserve()}:80"]
        published += ["--publish-socket", f"{self.system.base}/run/published/{name}.sock:/run/s"]
        verb = dice.choice((["create"], ["run", "-d"], ["run", "-d"]))
        self.ask(*verb, "--name", name, "-c", "1", "-m", "256m", *attached, *published, "busybox", "sleep", "1000")
        self.containers.append(name)
        self.kill(dice.choice(KILLABLE))
        if len(self.containers) == 2 or dice.random() < 0.5:
            self.remove(self.containers.pop(0))
        if dice.random() < 0.3:
            self.ask("network", "prune")

    def remove(self, name: str) -> None:
        """Stop or not, then delete."""
        if self.dice.random() < 0.3:
            self.ask("stop", "-t", "0", name)
        self.ask("delete", "-f", name)

    def kill(self, what: str) -> None:
        """SIGKILL every process of one kind."""
        marks = {
            "runtime": "container.plugins.runtime.main",
            "network": "container.plugins.network.main",
            "apiserver": "container.apiserver.main",
            "qemu": "qemu-system",
            "relay": "container-relay",
        }
        print(f"kill {what}")
        for pid, words in _others(self.system).items():
            if what in marks and marks[what] in " ".join(words):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


@pytest.mark.timeout(120 + 20 * CYCLES)
def test_nothing_is_left_after_cycles_in_random_order_with_kills(system: System) -> None:
    if system.user is not None and "CONTAINER_CYCLES" not in os.environ:
        pytest.skip("run once; for both users when CONTAINER_CYCLES is set")
    seed = int(os.environ.get("CONTAINER_SEED") or random.randrange(1 << 32))
    print(f"CONTAINER_SEED={seed}")
    cycles = Cycles(system, random.Random(seed))
    system.run("run", "--rm", "-c", "1", "-m", "256m", "busybox", "true")
    before = Census(system)
    for number in range(CYCLES):
        cycles.one(number)
    system.run("delete", "-f", "-a")
    for network in system.output("network", "list", "-q").split():
        if network != "default":
            system.run("network", "delete", network)
    print("\n".join(cycles.failures))
    left = settle(lambda: Census(system).more_than(before), lambda found: not found, 20)
    assert left == {}
    assert system.output("run", "--rm", "-c", "1", "-m", "256m", "busybox", "echo", "fine") == "fine"
