"""Stacks of layers as a hypothesis strategy, and two ways to make one tree of them: umoci's and this project's."""

import asyncio
import io
import os
import re
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from container.model.image import Platform
from container.paths import Roots
from container.plugins.images.service import opened
from support.ociarchive import ImageFiles, directory, layout, link, member, tar

Member = tuple[tarfile.TarInfo, bytes]

CAPABILITY = "\x01\x00\x00\x02\x00\x04\x00\x00" + "\x00" * 12  # cap_net_bind_service+ep, linux/capability.h revision 2
NAMES = ("a", "b", "c", "d d", "ü", "n" * 120)
KINDS = (
    "file",
    "file",
    "directory",
    "directory",
    "symlink",
    "hardlink",
    "borrow",
    "borrow",
    "device",
    "fifo",
    "whiteout",
    "opaque",
)

_paths = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join)
_owners = st.sampled_from([0, 1000, 70000])
_times = st.sampled_from([1, 1_000_000_000, 1_700_000_000])
_xattrs = st.sampled_from([{}, {}, {"user.x": "value"}, {"user.y": "w", "trusted.z": "t"}])


class _Layer:
    """One layer in the making.

    `tree` is what all layers up to it add up to, by path: `directory`, `other`, or `->` and the target of a symlink.
    """

    def __init__(self, draw: Any, below: dict[str, str]) -> None:
        self._draw = draw
        self._tree = dict(below)
        self._own: dict[str, str] = {}  # path to kind, of this layer's members
        self.members: list[Member] = []

    @property
    def tree(self) -> dict[str, str]:
        return self._tree

    def step(self, kind: str) -> None:
        """One more member, if one of this kind fits what is there."""
        name = self._draw(_paths)
        links = [path for path, kind in self._tree.items() if kind.startswith("->") and path not in self._own]
        if links and self._draw(st.booleans()):
            name = f"{self._draw(st.sampled_from(links))}/{name}"
        parent, _, base = name.rpartition("/")
        real = self._followed(parent)
        if real is None:
            return
        path = f"{real}/{base}" if real else base
        if kind == "whiteout":
            self.members.append(member(f"{parent}/.wh.{base}" if parent else f".wh.{base}"))
            self._drop(path)
        elif kind == "opaque":
            self._opaque(name)
        elif all(self._tree.get(up, "directory") == "directory" for up in _above(path)):
            self._add(kind, name, path)

    def _followed(self, path: str) -> str | None:
        """Where a directory is, links followed; None for loops."""
        parts, here, count = path.split("/"), "", 0
        while parts:
            part = parts.pop(0)
            if part == "..":
                here = here.rpartition("/")[0]
            elif part:
                step = f"{here}/{part}" if here else part
                kind = self._tree.get(step, "")
                if not kind.startswith("->"):
                    here = step
                    continue
                count += 1
                if count > 10:
                    return None
                parts = kind[2:].split("/") + parts
                here = "" if kind.startswith("->/") else here
        return here

    def _add(self, kind: str, name: str, path: str) -> None:
        """Add `name`, which is at `path` when links are followed."""
        if (self._own.get(path, kind) in ("directory", "implied")) != (kind == "directory") and path in self._own:
            return
        if kind != "directory" and any(own.startswith(f"{path}/") for own in self._own):
            return
        targets = self._lower_files(path) if kind == "borrow" else self._files(path)
        if kind in ("hardlink", "borrow") and not targets:
            return
        added = self._member(kind, name, targets)
        self.members.append(added)
        self._own[path] = kind
        for up in _above(path):
            self._own.setdefault(up, "implied")
            self._tree[up] = "directory"
        new = self._tree[added[0].linkname] if kind in ("hardlink", "borrow") else "other"
        if kind != "directory" or self._tree.get(path) != "directory":
            self._drop(path)
        self._tree[path] = {"directory": "directory", "symlink": f"->{added[0].linkname}"}.get(kind, new)

    def _files(self, path: str) -> list[str]:
        return [own for own, kind in self._own.items() if kind in ("file", "borrow") and own != path]

    def _lower_files(self, path: str) -> list[str]:
        """What lower layers have and is still there when something comes to be at `path`."""
        lower = (other for other, kind in self._tree.items() if kind != "directory" and other not in self._own)
        return [other for other in lower if not f"{other}/".startswith(f"{path}/")]

    def _member(self, kind: str, path: str, targets: list[str]) -> Member:
        draw = self._draw
        common = {"uid": draw(_owners), "gid": draw(_owners), "mtime": draw(_times)}
        if kind == "directory":
            modes = st.sampled_from([0o755, 0o700, 0o1777])  # setgid is inherited by what umoci implies
            return directory(path, draw(modes), xattrs=draw(_xattrs), **common)
        if kind == "symlink":
            return link(path, draw(st.sampled_from(["a", "/b", "../c", "n" * 150, "a/../../ü"])), mode=0o777, **common)
        if kind in ("hardlink", "borrow"):
            return link(path, draw(st.sampled_from(targets)), tarfile.LNKTYPE)
        if kind == "device":
            major, minor = draw(st.sampled_from([(1, 3), (8, 1), (259, 70000)]))
            kinds = st.sampled_from([tarfile.CHRTYPE, tarfile.BLKTYPE])
            return member(path, type=draw(kinds), mode=0o660, devmajor=major, devminor=minor, **common)
        if kind == "fifo":
            return member(path, type=tarfile.FIFOTYPE, mode=0o600, **common)
        data = draw(st.sampled_from([b"", b"x", b"some text\n", bytes(range(256)) * 20, b"\0" * (1 << 17) + b"end"]))
        xattrs = draw(st.one_of(_xattrs, st.just({"security.capability": CAPABILITY})))
        modes = st.sampled_from([0o644, 0o4755, 0o2711, 0o000, 0o6777])
        return member(path, data, mode=draw(modes), xattrs=xattrs, **common)

    def _opaque(self, name: str) -> None:
        path = self._followed(name)
        if path:
            self.members.append(member(f"{name}/.wh..wh..opq"))
            if self._tree.get(path) == "directory":
                self._drop(path, itself=False)

    def _drop(self, path: str, *, itself: bool = True) -> None:
        """Forget what lower layers have below `path`, and at it."""
        for gone in [other for other in self._tree if other.startswith(f"{path}/") or (itself and other == path)]:
            if gone not in self._own:
                del self._tree[gone]


def _above(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


class Stack:
    """Layers as uncompressed tars, the lowest first; shown as the members that they have."""

    def __init__(self, layers: list[bytes], members: list[list[Member]]) -> None:
        self.layers = layers
        self._members = members

    def __repr__(self) -> str:
        return "\n".join(
            f"layer {number}: " + ", ".join(_show(info) for info, _ in members)
            for number, members in enumerate(self._members)
        )


def _show(info: tarfile.TarInfo) -> str:
    target = f"->{info.linkname[:20]}" if info.linkname else ""
    short = re.sub("n{20,}", "N", info.name)
    return f"{short}{target} {info.type!r} {info.mode:o} {info.uid}:{info.gid} @{info.mtime} {info.size}"


@st.composite
def stacks(draw: Any) -> Stack:
    """One to four layers that add, replace, link, hide and remove."""
    tree: dict[str, str] = {}
    layers, members = [], []
    for _ in range(draw(st.integers(1, 4))):
        layer = _Layer(draw, tree)
        for kind in draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=10)):
            layer.step(kind)
        tree = layer.tree
        members.append(layer.members)
        root = directory("./", draw(st.sampled_from([0o755, 0o1711])), mtime=1234567, xattrs=draw(_xattrs))
        layers.append(tar(*draw(st.sampled_from([[], [root], [root]])), *layer.members))
    return Stack(layers, members)


def unpack_with_umoci(layers: list[bytes], base: Path) -> Path:
    """The tree that umoci makes of a stack."""
    source, bundle = base / "layout", base / "bundle"
    with tarfile.open(fileobj=io.BytesIO(layout(("x", ImageFiles(layers))))) as archive:
        for info in archive:
            path = source / info.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(archive.extractfile(info).read())  # type: ignore[union-attr]
    command = ["umoci", "unpack", "--image", f"{source}:x", str(bundle)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return bundle / "rootfs"


@contextmanager
def unpack_with_us(layers: list[bytes], base: Path) -> Iterator[Path]:
    """The tree that the host's overlayfs makes of our squashfs files; needs root."""
    with _mounted(asyncio.run(_squashfs(layout(("x", ImageFiles(layers))), base)), base) as merged:
        yield merged


async def _squashfs(archive: bytes, base: Path) -> list[Path]:
    """The squashfs files of the image's disk, the lowest first."""
    roots = Roots(*(str(base / name) for name in ("app", "run", "install", "log", "config.toml")))
    path = base / "image.tar"
    path.write_bytes(archive)
    async with opened(roots, "docker.io") as service:
        fd = os.open(path, os.O_RDONLY)
        try:
            await service.load(fd, False, lambda _: None)
        finally:
            os.close(fd)
        event = await service.prepare("x", Platform("linux", "amd64"), lambda _: None)
    assert event.rootfs is not None
    disk = Path(event.rootfs.disk)
    extents = re.findall(r'FLAT "(.*\.squashfs)"', disk.read_text())
    assert len(extents) == len(event.rootfs.layers)
    return [disk.parent / extent for extent in extents]


@contextmanager
def _mounted(squashfs: list[Path], base: Path) -> Iterator[Path]:
    lowers = [base / "empty"]
    lowers[0].mkdir()
    for number, path in enumerate(squashfs):
        lowers.append(base / f"layer-{number}")
        mark = ".container-root-owner"  # a device with xattrs, which no system call makes
        command = ["unsquashfs", "-q", "-n", "-d", str(lowers[-1]), "-excludes", str(path), mark]
        subprocess.run(command, check=True, capture_output=True)
    merged = base / "merged"
    merged.mkdir()
    stack = ":".join(lower.name for lower in reversed(lowers))
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", f"ro,lowerdir={stack}", merged], cwd=base, check=True)
    try:
        yield merged
    finally:
        subprocess.run(["umount", merged], check=True)
