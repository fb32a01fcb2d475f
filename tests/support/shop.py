"""A system for tests of images alone: real services, no kernel, started in a second."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from support.system import System


@contextmanager
def opened(
    user: str | None = None,
    settings: str = "",
    room: str | None = None,
    environment: dict[str, str] | None = None,
) -> Iterator[System]:
    """A started system of `user` (None: the caller) with `settings` as config.toml; stopped and removed at the end.

    The `environment` is added to that of all its commands. With `room` its app root is a file system of that size,
    which needs root; `resize` changes it.
    """
    base = Path(tempfile.mkdtemp(prefix="container-shop-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, base, ignore_errors=True)
        for name in ("home", "app", "run", "config", "config/container"):
            (base / name).mkdir(mode=0o700)
        (base / "config/container/config.toml").write_text(settings)
        if room is not None:
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"mode=0700,size={room}", "tmpfs", base / "app"], check=True)
            stack.callback(subprocess.run, ["umount", "-l", base / "app"], check=True)
        if user is not None:
            owner = pwd.getpwnam(user)
            for path in (base, *base.rglob("*")):
                os.chown(path, owner.pw_uid, owner.pw_gid)
        system = System(base, user)
        system.environment |= environment or {}
        stack.callback(system.run, "system", "stop", check=False)
        system.run("system", "start", "--disable-kernel-install")
        yield system


def resize(system: System, room: str) -> None:
    """Give the app root of a system that was opened with some `room` more or less of it."""
    subprocess.run(["mount", "-o", f"remount,size={room}", system.base / "app"], check=True)
