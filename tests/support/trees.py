"""Whole trees as comparable values: what `lister.c` says of each path, on this host and inside a guest."""

import subprocess
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

from support.images import CACHE


@dataclass(frozen=True)
class Node:
    """All that a tree says of one path; `links` are the paths of the same inode, itself included."""

    mode: str  # type and mode, octal
    owner: str
    size: int
    mtime: int
    device: str
    target: str
    xattrs: str
    content: str
    links: tuple[str, ...] = ()


def lister() -> Path:
    """The static lister, compiled when its source is newer."""
    source, program = Path(__file__).with_name("lister.c"), CACHE / "lister"
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        CACHE.mkdir(parents=True, exist_ok=True)
        command = ["gcc", "-std=c11", "-O2", "-static", "-Wall", "-Wextra", "-Werror", "-o", program, source]
        subprocess.run(command, check=True)
    return program


def parse(text: str) -> dict[str, Node]:
    """The lister's output by path."""
    rows = [line.split("\t") for line in text.splitlines()]
    inodes: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        inodes[row[7]].append(row[0])
    return {
        path: Node(
            mode, f"{uid}:{gid}", int(size), int(mtime), device, target, xattrs, content, tuple(sorted(inodes[inode]))
        )
        for path, mode, uid, gid, size, mtime, device, inode, target, xattrs, content in rows
    }


def of(root: Path, *skipped: str) -> dict[str, Node]:
    """The tree below a directory of this host; `skipped` paths are left out with all below them."""
    result = subprocess.run([lister(), root, *skipped], check=True, capture_output=True, text=True)
    return parse(result.stdout)


def differences(ours: dict[str, Node], theirs: dict[str, Node], since: float | None = None) -> list[str]:
    """A line about each path that is not the same.

    `since` is when the other tool began: it leaves the current time on directories that it made or changed on its own,
    and these times are not compared.
    """
    found = []
    for path in sorted(ours.keys() | theirs.keys()):
        mine, other = ours.get(path), theirs.get(path)
        if mine and other and since is not None and other.mode.startswith("4") and other.mtime >= int(since):
            other = replace(other, mtime=mine.mtime)
        if mine != other:
            found.append(f"{path or '/'}: ours {mine}, theirs {other}")
    return found
