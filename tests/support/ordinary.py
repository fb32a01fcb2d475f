"""An ordinary account for the tests of root: made when the first needs it, removed with all that it has at the end."""

import contextlib
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

PREFIX = "container-test-"  # and the pid of the tests, so that two runs have two users
TUN = Path("/dev/net/tun")
_undo = contextlib.ExitStack()
_made: list[str] = []


def make_user() -> str:
    """The account of this run, with subordinate ids; needs root."""
    if not _made:
        _sweep()
        name = f"{PREFIX}{os.getpid()}"
        _undo.callback(_delete, name)
        subprocess.run(["useradd", "--create-home", "--shell", "/bin/bash", name], check=True)
        _open_tun()
        _check_reach(name)
        _made.append(name)
    return _made[0]


def remove_user() -> None:
    """Remove the account, its home and its processes, and undo what was done for it."""
    _made.clear()
    _undo.close()


def _check_reach(name: str) -> None:
    become = ["setpriv", f"--reuid={name}", f"--regid={name}", "--init-groups", "env", "-C", "/"]
    program = [sys.executable, "-c", "import container"]
    told = subprocess.run([*become, *program], capture_output=True, text=True, check=False)
    message = f"the user {name} cannot use {sys.executable}; run the tests with tools/test.py, which sees to it"
    assert told.returncode == 0, f"{message}: {told.stderr}"


def _open_tun() -> None:
    """The mode that udev gives; a bare VM may have 0600."""
    if TUN.exists() and (mode := stat.S_IMODE(TUN.stat().st_mode)) & 0o666 != 0o666:
        TUN.chmod(0o666)
        _undo.callback(TUN.chmod, mode)


def _sweep() -> None:
    """Remove the accounts of runs that were killed."""
    for account in pwd.getpwall():
        pid = account.pw_name.removeprefix(PREFIX)
        if account.pw_name != pid and pid.isdecimal() and not Path("/proc", pid).exists():
            _delete(account.pw_name)


def _delete(name: str) -> None:
    with contextlib.suppress(KeyError):
        account = pwd.getpwnam(name)
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if process.stat().st_uid == account.pw_uid:
                    os.kill(int(process.name), signal.SIGKILL)
        subprocess.run(["userdel", "--force", "--remove", name], check=False, capture_output=True)
        shutil.rmtree(account.pw_dir, ignore_errors=True)
        pwd.getpwnam(name)
        raise AssertionError(f"the account {name} is still there")
