"""Removing what a system left on disk: only what it made, only below its roots, without following links or mounts.

rm(1) does the work: it opens each directory relative to its parent, takes trees of any depth, and with
`--one-file-system` stays off what is mounted. For an ordinary user it runs in the user namespace of his containers,
where files of his subordinate ids (subuid(5)) are his own.
"""

from __future__ import annotations

import glob
import os
import re
import stat
import subprocess
from contextlib import suppress

from container.errors import ContainerError, ErrorCode, internal
from container.linux.subids import AS_OWNERS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

MARK = ".uninstall"  # in an app root whose removal began
APP = re.compile(
    r"containers|images|volumes|networks|kernels|cache|logs|config|accelerator\.json"
    r"|\.probe-.*|\.accelerator\.json\..*\.tmp|" + re.escape(MARK)  # of what was killed
)
RUN = re.compile(r"io\.container\..*|supervisor\..*|launch\.lock|networks")
LOG = re.compile(r"io\.container\..*\.log(\.1)?")
# What shows that a system used an app root: each start leaves some of them.
EVIDENCE = (MARK, "accelerator.json", "networks/default/entity.json", "logs/io.container.*.log")
MOUNTS = "/proc/self/mountinfo"
_ESCAPE = re.compile(r"\\([0-7]{3})")  # proc_pid_mountinfo(5)


class Root:
    """One directory of a system: `ours` are paths in it that the system made, `others` those that it did not.

    `made` matches the names of the former. Raises ContainerError(invalidState) for a directory that cannot be one.
    """

    def __init__(self, path: str, made: re.Pattern[str]) -> None:
        self.path = path
        self.made = made
        check_owner(path)  # before a link is followed
        self.real = os.path.realpath(path)
        self.ours: list[str] = []
        self.others: list[str] = []
        if not os.path.isdir(self.real):
            return
        self._check()
        for name in sorted(os.listdir(self.real)):
            found = os.path.join(self.real, name)
            ours = made.fullmatch(name) or (made is RUN and stat.S_ISSOCK(os.lstat(found).st_mode))
            (self.ours if ours else self.others).append(found)

    def _check(self) -> None:
        home = os.path.realpath(os.path.expanduser("~"))
        if os.path.commonpath([self.real, home]) == self.real:
            raise _refused(f"cannot remove the system in {self.path}: this directory holds the home directory {home}")
        if os.stat(self.real).st_uid != os.getuid():
            raise _refused(f"cannot remove the system in {self.path}: the directory belongs to another user")
        for mount in _mounts():
            if mount != self.real and os.path.commonpath([self.real, mount]) == self.real:
                raise _refused(
                    f"cannot remove the system in {self.path}: something is mounted at {mount}; "
                    f"unmount it first: sudo umount {mount}"
                )

    def check_system(self) -> None:
        """Raise ContainerError(invalidState) when no system ever used this app root: `images` may be anybody's."""
        if self.ours and not any(glob.glob(each, root_dir=self.real) for each in EVIDENCE):
            raise _refused(
                f"cannot remove the system in {self.path}: nothing in this directory shows that a system used it; "
                f"if one did, start it there first: container system start --app-root {self.path}"
            )

    def remove(self) -> None:
        """Remove `ours`, the directory when it is empty then, and the link that led to it.

        The mark of an app root goes last: it lets the next removal complete one that was interrupted.
        Raises ContainerError(internal) when something stays.
        """
        mark = os.path.join(self.real, MARK)
        marked = self.made is APP and bool(self.ours)
        if marked:
            with suppress(OSError):  # there already, or the disk has no room even for a name: removing makes some
                os.close(os.open(mark, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        remove([path for path in self.ours if path != mark])
        if marked:
            remove([mark])
        for path, unlink in ((self.real, os.rmdir), (self.path, _unlink_link)):
            try:
                unlink(path)
            except OSError:  # something else is in it, or it is a mount
                return


def check_owner(path: str) -> None:
    """Raise ContainerError(invalidState) for a directory, or a link to one, that another user laid there."""
    with suppress(FileNotFoundError, NotADirectoryError):
        if os.lstat(os.path.abspath(path)).st_uid not in (0, os.getuid()):
            raise _refused(f"cannot remove the system in {path}: this path belongs to another user")


def size(paths: Iterable[str]) -> int:
    """Allocated bytes of files and trees."""
    told = _run("du", ["-scx", "-B1", "--"], paths)
    try:
        return int(told.stdout.splitlines()[-1].split()[0])
    except (ValueError, IndexError):
        return 0


def remove(paths: list[str]) -> None:
    """Remove files and trees. Raises ContainerError(internal) when something stays; what can go is gone then."""
    if not paths:
        return
    told = _run("rm", ["-rf", "--one-file-system", "--"], paths)
    left = [path for path in paths if os.path.lexists(path)]
    if left:
        reason = told.stderr.strip().splitlines()[-1:] or ["no reason was given"]
        raise internal(
            f"cannot remove {', '.join(left)}: {reason[0]}; remove it with: sudo rm -rf --one-file-system {left[0]}"
        )


def _run(program: str, options: list[str], paths: Iterable[str]) -> subprocess.CompletedProcess[str]:
    words = [program, *options, *paths]
    told = _completed([*AS_OWNERS, *words]) if os.getuid() != 0 else _completed(words)
    # Without subordinate ids there is no such namespace, and there are no such files.
    return _completed(words) if told.stderr.startswith(AS_OWNERS[0]) or told.returncode == 127 else told


def _completed(words: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False
        )
    except FileNotFoundError:
        return subprocess.CompletedProcess(words, 127, "", f"{words[0]} is not installed")


def _unlink_link(path: str) -> None:
    if os.path.islink(path):
        os.unlink(path)


def _mounts() -> list[str]:
    with open(MOUNTS, encoding="utf-8", errors="surrogateescape") as file:
        return [_ESCAPE.sub(_octal, line.split(" ")[4]) for line in file]


def _octal(match: re.Match[str]) -> str:
    return chr(int(match[1], 8))


def _refused(message: str) -> ContainerError:
    return ContainerError(ErrorCode.INVALID_STATE, message)
