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


ROOT = directory("./", 0o755, mtime=1234567)


def hard(name: str, target: str) -> Member:
    return link(name, target, tarfile.LNKTYPE)


def new(name: str, data: bytes = b"new") -> Member:
    return member(name, data, mtime=20)


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
    later = [hard("last", "null"), member("d/.wh.two")]
    assert compared([tar(ROOT, *members) for members in (lower, upper, later)]) == []


@pytest.mark.parametrize(
    "upper",
    [
        [member("f/.wh.x"), member("f/a/b/.wh.x"), member("to-f/.wh.x"), member("f/.wh..wh..opq")],
        [member("nothing/.wh.x"), member("no/such/.wh..wh..opq")],
        [directory("new", mtime=9), member("new/.wh.nothing"), new("new/k")],
        [directory("d", 0o700, mtime=9), member("d/.wh..wh..opq"), member("d/.wh.x"), new("d/z")],
        [member("d/.wh.x"), member(".wh.d"), new("f"), member("f/.wh.x")],
        [member("usr/lib/.wh.old"), new("usr/lib")],
        [member("usr/lib/.wh..wh..opq"), member("usr/lib/.wh.old"), new("usr")],
        [member(".wh.d"), new("d/e/new")],
        [new("d/e/new"), member(".wh.d")],
        [new("d/e/new"), member("d/.wh..wh..opq"), new("d/e/f/new")],
        [new("d"), directory("d", 0o711, mtime=10)],
    ],
)
def test_whiteouts_are_what_umoci_makes_of_them(upper: list[Member]) -> None:
    assert compared_on_usr(upper, [new("d/e/later")]) == []


@pytest.mark.parametrize(
    "upper",
    [
        [new("lib/foo")],
        [new("lib/a/b/foo"), new("absolute/lib/foo"), new("up/bar"), new("dangling/baz"), new("to-root/x")],
        [new("lib/old"), hard("usr/lib/older", "lib/old")],
        [new("usr/lib/one"), hard("two", "lib/one"), hard("lib/three", "two"), hard("four", "lib/old")],
        [member("lib/.wh.old"), new("lib/young")],
        [member("lib/.wh..wh..opq"), new("lib/young")],
        [member(".wh.lib"), new("lib/foo")],
        [new("lib/foo"), member(".wh.lib")],
        [directory("lib", 0o701, mtime=10), new("lib/foo")],
        [new("lib/foo"), directory("lib", 0o701, mtime=10)],
        [link("lib", "d", mtime=11), new("lib/foo")],
        [link("more", "lib", mtime=11), new("more/q/foo")],
        [hard("lib/itself", "lib")],
        [new("usr/lib/twice", b"1"), hard("kept", "lib/twice"), new("lib/twice", b"second")],
        [hard("l", "lib"), new("l/foo"), hard("k", "l/foo"), directory("l/bar", 0o701, mtime=10), new("l/bar/baz")],
        [hard("usr/l", "absolute"), new("usr/l/foo"), member("usr/l/lib/.wh.old")],
        [hard("l", "lib"), hard("m", "l"), link("n", "m/..", mtime=11), new("m/foo"), new("n/bar")],
        [new("x", b"1"), new("x", b"22"), hard("l", "lib"), new("l/foo")],
    ],
)
def test_members_below_links_of_lower_layers_land_where_umoci_puts_them(upper: list[Member]) -> None:
    assert compared_on_usr(upper, [new("lib/last"), hard("last", "lib/last")]) == []


@pytest.mark.parametrize(
    "upper",
    [
        [new("t", b"1"), hard("g", "t"), hard("h", "g"), new("t", b"22"), hard("i", "t")],
        [new("t", b"1"), hard("g", "t"), hard("h", "g"), new("g", b"22"), hard("i", "h")],
        [hard("g", "d/x"), hard("h", "g"), new("g", b"22"), hard("i", "h")],
    ],
)
def test_names_that_come_twice_leave_other_links_to_the_first_as_they_are(upper: list[Member]) -> None:
    assert compared_on_usr(upper, []) == []


def compared_on_usr(*uppers: list[Member]) -> list[str]:
    """`compared`, on a layer with a merged /usr, a directory `d` and a file `f`."""
    lower = [
        directory("usr", mtime=3),
        directory("usr/lib", 0o711, uid=4, mtime=4),
        member("usr/lib/old", b"old", mtime=5),
        link("lib", "usr/lib", mtime=6),
        link("absolute", "/usr", mtime=6),
        link("dangling", "var/none", mtime=6),
        link("up", "../../../usr/lib/../lib", mtime=6),
        link("to-root", "../..", mtime=6),
        member("f", b"f", mtime=7),
        link("to-f", "f", mtime=7),
        directory("d", 0o700, mtime=8),
        directory("d/e", 0o705, uid=3, mtime=8),
        member("d/x", b"x", mtime=9),
        member("d/e/y", b"y", mtime=9),
    ]
    return compared([tar(ROOT, *members) for members in (lower, *uppers)])


def compared(layers: list[bytes]) -> list[str]:
    """The differences between what overlayfs makes of our layers and what umoci makes."""
    with tempfile.TemporaryDirectory() as scratch:
        base, since = Path(scratch), time.time()
        theirs = trees.of(unpack_with_umoci(layers, base))
        with unpack_with_us(layers, base) as merged:
            return trees.differences(trees.of(merged), theirs, since)
