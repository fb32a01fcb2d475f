"""Run pytest with the arguments given. Root's tests that become another user need a clone that others can read.

A clone that only root can reach (below /root, or made with a umask of 077) is copied with its virtual environment to a
temporary directory that all can read; the tests run there, and the copy goes at the end.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
NOBODY = "65534"
LEFT_OUT = shutil.ignore_patterns(".git", ".cache", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis")


def others_can_run(clone: Path) -> bool:
    """Whether a user without rights can start the command line of `clone` and read its sources and tests."""
    become = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "env", "--chdir=/"]
    start = [clone / ".venv/bin/container", "--version"]
    look = ["find", clone / "src", clone / "tests", "!", "-readable", "-printf", "%p", "-quit"]
    for command in (start, look):
        result = subprocess.run([*become, *command], stdin=subprocess.DEVNULL, capture_output=True, check=False)
        if result.returncode or (command is look and result.stdout):
            return False
    return True


@contextmanager
def readable_copy() -> Iterator[Path]:
    """A copy of this clone for all to read, whose scripts and imports are its own."""
    base = Path(tempfile.mkdtemp(prefix="container-tests-"))
    try:
        copy = base / "container"
        shutil.copytree(ROOT, copy, symlinks=True, ignore=LEFT_OUT)
        packages = next((copy / ".venv/lib").glob("python3*/site-packages"))
        for path in (*(copy / ".venv/bin").iterdir(), *packages.glob("*.pth"), copy / ".venv/pyvenv.cfg"):
            _repoint(path, os.fsencode(ROOT), os.fsencode(copy))
        subprocess.run([sys.executable, "-m", "compileall", "-q", copy / "src"], check=True)
        subprocess.run(["chmod", "-R", "a+rX,go-w", base], check=True)
        yield copy
    finally:
        shutil.rmtree(base, ignore_errors=True)


def _repoint(path: Path, old: bytes, new: bytes) -> None:
    if path.is_file() and not path.is_symlink() and old in (content := path.read_bytes()) and b"\0" not in content:
        path.write_bytes(content.replace(old, new))


def run(clone: Path, arguments: list[str]) -> int:
    """Run pytest in `clone`; what it keeps for the next time is kept here. SIGTERM ends it as Ctrl-C does."""
    environment = os.environ | {"CONTAINER_TEST_CACHE": os.environ.get("CONTAINER_TEST_CACHE", str(ROOT / ".cache"))}
    command = [clone / ".venv/bin/python", "-m", "pytest", "-o", f"cache_dir={ROOT / '.pytest_cache'}", *arguments]
    child = subprocess.Popen(command, cwd=clone, env=environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal tells the child, too
    signal.signal(signal.SIGTERM, lambda *_: child.send_signal(signal.SIGINT))
    code = child.wait()
    return code if code >= 0 else 128 - code


def main() -> int:
    """Run here, or in a copy."""
    if os.getuid() != 0 or others_can_run(ROOT):
        return run(ROOT, sys.argv[1:])
    print(f"==> Other users cannot read {ROOT}: the tests run in a copy that they can read", flush=True)
    with readable_copy() as copy:
        return run(copy, sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
