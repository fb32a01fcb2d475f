"""What a container sees of its image is, path by path, what umoci unpacks of it."""

import os
import shutil
import tarfile
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from support import trees
from support.ociarchive import ImageFiles, directory, layout, link, member, tar
from support.stacks import CAPABILITY, Stack, stacks, unpack_with_umoci
from support.system import System

pytestmark = [
    pytest.mark.vm,
    pytest.mark.skipif(os.getuid() != 0 or not shutil.which("umoci"), reason="umoci needs root"),
]

# What the guest itself mounts or writes, in an image that has room for it.
OURS = ("dev", "proc", "sys", "etc")
ROOM = [directory("./", 0o755, mtime=7), *(directory(name, mtime=8) for name in OURS)]


def base() -> bytes:
    """The lowest layer: the lister, and room for what the guest mounts."""
    return tar(*ROOM, member("lister", trees.lister().read_bytes(), mode=0o755))


def rich() -> list[bytes]:
    """Layers with one of everything that a layer can say."""
    long = "/".join(["deep" * 20] * 6)
    first = tar(
        directory("bin", 0o755, mtime=11),
        member("bin/su", b"setuid", mode=0o4755, uid=0, gid=12, mtime=12),
        member("bin/wall", b"setgid", mode=0o2755, gid=5, mtime=13),
        member("bin/ping", b"caps", mode=0o755, xattrs={"security.capability": CAPABILITY}, mtime=14),
        member("bin/one", b"linked", mtime=15),
        link("bin/two", "bin/one", tarfile.LNKTYPE),
        link("bin/three", "bin/one", tarfile.LNKTYPE),
        link("bin/sh", "su", mode=0o777, mtime=16),
        directory("srv", 0o2775, uid=33, gid=44, mtime=17, xattrs={"user.note": "dir"}),
        member("srv/sparse", b"\0" * (3 << 20) + b"end" + b"\0" * (1 << 20), mtime=18),
        member("srv/empty", b"", mode=0, uid=70000, gid=70001, mtime=19),
        member("srv/fifo", type=tarfile.FIFOTYPE, mode=0o600, mtime=20),
        member("srv/null", type=tarfile.CHRTYPE, mode=0o666, devmajor=1, devminor=3, mtime=21),
        member("srv/disk", type=tarfile.BLKTYPE, mode=0o660, gid=6, devmajor=259, devminor=70000, mtime=22),
        directory("tmp", 0o1777, mtime=23),
        directory("gone", mtime=24),
        member("gone/file", b"x", mtime=25),
        directory("opaque", 0o750, uid=3, mtime=26),
        member("opaque/old", b"x", mtime=27),
        directory("opaque/olddir", mtime=28),
        directory("becomes-file", mtime=29),
        member("becomes-file/x", b"x", mtime=30),
        member("becomes-directory", b"x", mtime=31),
        directory("kept", 0o711, uid=9, gid=9, mtime=32, xattrs={"user.kept": "yes"}),
        member(f"long/{long}/{'n' * 255}", b"long", mtime=33),
        member("ümläut/ \t%", b"odd", mtime=34),
        directory("usr", mtime=35),
        directory("usr/lib", 0o711, uid=2, mtime=36),
        link("lib", "usr/lib", mode=0o777, mtime=37),
    )
    second = tar(
        member(".wh.gone"),
        directory("opaque", 0o755, mtime=41),
        member("opaque/.wh..wh..opq"),
        member("opaque/young", b"y", mtime=42),
        member("becomes-file", b"f", mtime=43),
        directory("becomes-directory", 0o700, mtime=44),
        member("becomes-directory/x", b"d", mtime=45),
        member("kept/implied/file", b"k", mtime=46),
        member("bin/one", b"no longer linked", mtime=47),
        member("bin/.wh.wall"),
        member("bin/four", b"4", mtime=48),
        link("bin/five", "bin/four", tarfile.LNKTYPE),
        member("lib/through/a/link", b"t", mtime=49),
        link("lib/seven", "lib/through/a/link", tarfile.LNKTYPE),
        member("bin/su/.wh.inside-a-file"),
        directory("alone", 0o700, mtime=49),
        member("alone/.wh.nothing"),
        member("alone/twice", b"1", mtime=49),
        link("alone/first", "alone/twice", tarfile.LNKTYPE),
        member("alone/twice", b"22", mtime=49),
    )
    third = tar(
        directory("./", 0o751, uid=5, gid=6, mtime=50, xattrs={"user.root": "yes", "trusted.root": "no"}),
        directory("gone", 0o700, uid=1, mtime=51),
        member("gone/again", b"g", mtime=52),
        member("opaque/.wh.young"),
        link("kept/ping", "bin/ping", tarfile.LNKTYPE),
        link("kept/six", "bin/four", tarfile.LNKTYPE),
        member("bin/.wh.five"),
        link("kept/implied/link", "../../bin/" + "s" * 150, mode=0o777, mtime=53),
        directory("srv", 0o755, mtime=54),
    )
    return [first, second, third]


def seen_by_a_container(system: System, layers: list[bytes]) -> dict[str, trees.Node]:
    """The tree in a container of an image with these layers."""
    system.run("image", "load", input=layout(("tree:1", ImageFiles(layers))), text=False)
    options = ["--rm", "-m", "256m", "-c", "1", "--network", "none", "--no-dns", "--cap-add", "ALL"]
    try:
        return trees.parse(system.output("run", *options, "tree:1", "/lister", "/", *OURS))
    finally:
        system.run("image", "delete", "tree:1")


def compared(system: System, layers: list[bytes]) -> list[str]:
    """The differences between what a container sees and what umoci makes."""
    since = time.time()
    with tempfile.TemporaryDirectory() as scratch:
        theirs = trees.of(unpack_with_umoci(layers, Path(scratch)), *OURS)
    return trees.differences(seen_by_a_container(system, layers), theirs, since)


def test_an_image_with_everything_looks_the_same_in_a_container(system: System) -> None:
    assert compared(system, [base(), *rich()]) == []


@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
@given(stacks())
def test_any_stack_looks_the_same_in_a_container(system: System, stack: Stack) -> None:
    if system.user is not None:
        pytest.skip("the layers are made the same way for every user")
    assert compared(system, [base(), *stack.layers]) == []
