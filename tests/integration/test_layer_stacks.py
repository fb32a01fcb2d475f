"""Any stack of layers is the same tree here as umoci unpacks it: paths, metadata, xattrs, links, contents."""

import os
import shutil
import tarfile
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from support import trees
from support.ociarchive import directory, link, member, tar
from support.stacks import Member, Stack, stacks, unpack_with_umoci, unpack_with_us

pytestmark = pytest.mark.skipif(os.getuid() != 0 or not shutil.which("umoci"), reason="needs root and umoci")


def hard(name: str, target: str) -> Member:
    return link(name, target, tarfile.LNKTYPE)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(stacks())
def test_a_stack_of_layers_is_what_umoci_makes_of_it(stack: Stack) -> None:
    assert compared(stack.layers) == []


@pytest.mark.parametrize(
    "upper",
    [
        [hard("new", "d/old")],
        [hard("new", "d/old"), hard("newer", "new"), hard("newest", "newer")],
        [hard("new", "d/old"), member("d/old", b"another", mtime=12)],
        [hard("new", "d/old"), member("d/.wh.old")],
        [hard("new", "d/old"), directory("d", 0o700, mtime=6), member("d/.wh..wh..opq")],
        [hard("new", "d/old"), member("new", b"another", mtime=12)],
        [hard("e", "d/old"), hard("g/h/new", "d/old")],
        [hard("d/two", "d/old"), hard("d/e", "d/two")],
        [hard("new", "symlink"), hard("newer", "fifo"), hard("newest", "null")],
        [hard("new", "e-too/f"), member("e/f", b"another", mtime=12)],
    ],
)
def test_hard_links_to_files_of_lower_layers_are_what_umoci_makes_of_them(upper: list[Member]) -> None:
    lower = [
        directory("d", mtime=5),
        member("d/old", b"x", mode=0o4755, uid=7, mtime=11, xattrs={"user.a": "b"}),
        hard("d/two", "d/old"),
        directory("e", 0o711, gid=9, mtime=6),
        member("e/f", b"f" * 300_000, mtime=7),
        hard("e/g", "e/f"),
        link("e-too", "e", mtime=8),
        link("symlink", "/x" * 99, mode=0o777, uid=5, mtime=9),
        member("fifo", type=tarfile.FIFOTYPE, mode=0o600, mtime=10),
        member("null", type=tarfile.CHRTYPE, mode=0o666, devmajor=1, devminor=3, mtime=11),
    ]
    root = directory("./", 0o755, mtime=1234567)
    later = [hard("last", "null"), member("d/.wh.two")]
    assert compared([tar(root, *members) for members in (lower, upper, later)]) == []


def compared(layers: list[bytes]) -> list[str]:
    """The differences between what overlayfs makes of our layers and what umoci makes."""
    with tempfile.TemporaryDirectory() as scratch:
        base, since = Path(scratch), time.time()
        theirs = trees.of(unpack_with_umoci(layers, base))
        with unpack_with_us(layers, base) as merged:
            return trees.differences(trees.of(merged), theirs, since)
