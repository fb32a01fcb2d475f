"""For `make clean`: stop every system whose services run from this clone, with its own roots and as its own user."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

VENV = Path(sys.executable).parents[1]
PYTHON = os.fsencode(VENV / "bin/python")
SUPERVISOR = b"container.supervisor.main"
SECONDS, SECONDS_OF_THE_LAST = 120, 10


@dataclass(frozen=True)
class Service:
    """A process that runs a module of this clone."""

    process: Path
    uid: int
    supervises: bool

    def environment(self) -> dict[bytes, bytes]:
        """What it was started with; it has the roots of its system."""
        entries = (self.process / "environ").read_bytes().split(b"\0")
        return dict(entry.partition(b"=")[::2] for entry in entries if entry)


def services() -> Iterator[Service]:
    """Every service that was started by the Python of this clone's virtual environment."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            if words[0].startswith(PYTHON) and any(word.startswith(b"container.") for word in words):
                yield Service(process, process.stat().st_uid, SUPERVISOR in words)
        except (FileNotFoundError, ProcessLookupError):
            continue


def stop(supervisor: Service) -> None:
    """`container system stop` for one system."""
    environment = supervisor.environment()
    print(f"==> Stopping the system in {environment.get(b'CONTAINER_RUN_ROOT', b'').decode()}", flush=True)
    become = {}
    if supervisor.uid != os.getuid():
        become = {"user": supervisor.uid, "group": supervisor.process.stat().st_gid, "extra_groups": []}
    command = [VENV / "bin/container", "system", "stop"]
    with contextlib.suppress(subprocess.TimeoutExpired):
        subprocess.run(command, env=environment, check=False, stderr=subprocess.DEVNULL, timeout=SECONDS, **become)


def main() -> str | None:
    """Stop them; a sentence when something goes on."""
    for supervisor in [service for service in services() if service.supervises]:
        if os.getuid() not in (0, supervisor.uid):
            return f"Error: a system of uid {supervisor.uid} runs from this clone; stop it as that user first."
        stop(supervisor)
    deadline = time.monotonic() + SECONDS_OF_THE_LAST
    while (left := sorted(service.process.name for service in services())) and time.monotonic() < deadline:
        time.sleep(0.1)
    if left:
        return f"Error: processes still run from this clone ({', '.join(left)}); end them, then run make clean again."
    return None


if __name__ == "__main__":
    sys.exit(main())
