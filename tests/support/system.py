"""One whole system under test: own roots, real services, driven through the real command line."""

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

CLI = str(Path(sys.executable).with_name("container"))
T = TypeVar("T")


class System:
    """A system of `user` (None: the caller) below one temporary directory."""

    def __init__(self, base: Path, user: str | None = None) -> None:
        self.base, self.user = base, user
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(base / "home"),
            "CONTAINER_APP_ROOT": str(base / "app"),
            "CONTAINER_RUN_ROOT": str(base / "run"),
            "XDG_CONFIG_HOME": str(base / "config"),
            "LANG": "C.UTF-8",
        }
        for name in ("http_proxy", "https_proxy", "no_proxy", "CONTAINER_ACCELERATOR"):
            if name in os.environ:
                self.environment[name] = os.environ[name]

    def command(self, *arguments: str) -> list[str]:
        """The argv that runs `container` as this system's user."""
        prefix = (
            [] if self.user is None else ["setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--init-groups"]
        )
        return [*prefix, CLI, *arguments]

    def run(
        self,
        *arguments: str,
        check: bool = True,
        timeout: float = 120,
        env: dict[str, str] | None = None,
        **options: Any,
    ) -> "subprocess.CompletedProcess[Any]":
        """Run `container ARGUMENTS…`; output is text unless `text=False` is given."""
        options.setdefault("text", True)
        if "input" not in options:
            options.setdefault("stdin", subprocess.DEVNULL)
        result = subprocess.run(
            self.command(*arguments),
            env=self.environment | (env or {}),
            capture_output=True,
            timeout=timeout,
            **options,
        )
        if check and result.returncode:
            raise AssertionError(f"{arguments} ended with {result.returncode}: {result.stdout!r} {result.stderr!r}")
        return result

    def output(self, *arguments: str, **options: Any) -> str:
        """Standard output of a successful command, without the final newline."""
        return str(self.run(*arguments, **options).stdout).removesuffix("\n")

    def popen(self, *arguments: str, **options: Any) -> "subprocess.Popen[Any]":
        """Start `container ARGUMENTS…` in the background."""
        return subprocess.Popen(self.command(*arguments), env=self.environment, **options)

    def inspect(self, container: str) -> Any:
        """The one element of `container inspect`."""
        return json.loads(self.output("inspect", container))[0]

    def state(self, container: str) -> str:
        """The state that `inspect` tells."""
        return str(self.inspect(container)["status"]["state"])

    def services(self) -> dict[str, int]:
        """Pids of this system's services, by service name, as the process table tells."""
        found: dict[str, int] = {}
        for pid, words in self.processes().items():
            text = " ".join(words)
            for module, name in (
                ("container.supervisor.main", "supervisor"),
                ("container.apiserver.main", "apiserver"),
                ("container.plugins.images.main", "images"),
                ("container.plugins.network.main", "network"),
            ):
                if module in text:
                    found[name] = pid
            if "container.plugins.runtime.main" in text:
                found[f"runtime.{words[words.index('--uuid') + 1]}"] = pid
        return found

    def processes(self) -> dict[int, list[str]]:
        """Every process that carries this system's run root in its environment, with its argv."""
        marker = f"CONTAINER_RUN_ROOT={self.environment['CONTAINER_RUN_ROOT']}".encode()
        found: dict[int, list[str]] = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                if marker in (entry / "environ").read_bytes().split(b"\0"):
                    words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
                    found[int(entry.name)] = words
            except OSError:
                continue
        return {pid: words for pid, words in found.items() if words != [""]}


@contextmanager
def running_system(user: str | None = None, kernel: bool = True) -> Iterator[System]:
    """A started system, with a kernel or without; stopped and removed at the end, which fails if a process is left."""
    base = Path(tempfile.mkdtemp(prefix="container-system-"))
    try:
        for name in ("home", "app", "run", "config"):
            (base / name).mkdir(mode=0o700)
        if user is not None:
            ids = pwd.getpwnam(user)
            for path in (base, *base.iterdir()):
                os.chown(path, ids.pw_uid, ids.pw_gid)
        system = System(base, user)
        system.run("system", "start", f"--{'enable' if kernel else 'disable'}-kernel-install", timeout=600)
        try:
            yield system
        finally:
            system.run("system", "stop", timeout=120, check=False)
            left = settle(system.processes, lambda processes: not processes, timeout=10)
            for pid in left:
                os.kill(pid, signal.SIGKILL)
            assert not left, f"processes left after `system stop`: {left}"
    finally:
        shutil.rmtree(base, ignore_errors=True)


def settle(look: Callable[[], T], good: Callable[[T], bool], timeout: float) -> T:
    """Look until `good` says so or time is up; returns the last look."""
    deadline = time.monotonic() + timeout
    while not good(seen := look()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return seen
