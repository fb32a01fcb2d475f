"""What layers say is what a container sees: whiteouts, opaque directories, inherited metadata, in a real guest."""

import shutil
import tarfile
from pathlib import Path

import pytest
from support.ociarchive import ImageFiles, directory, layout, link, member, tar
from support.system import System

pytestmark = pytest.mark.vm

LOOK = """
cd /; find etc srv gone hidden new replaced -print 2>/dev/null | sort
stat -c '%n %a %u:%g' srv/private srv/private/deep etc/motd bin/su
cat etc/motd replaced/one replaced/two 2>&1
stat -c '%h' bin/su
[ bin/su -ef bin/also ] && echo same
touch etc/motd && mkdir -p srv/private/more && rm -r hidden && [ ! -e hidden ] && echo writable
"""


def image() -> bytes:
    """Three layers on busybox that hide, replace and add below each other."""
    busybox = Path(shutil.which("busybox") or "/bin/busybox").read_bytes()
    applets = (link(f"bin/{name}", "busybox") for name in ("sh", "find", "stat", "cat", "sort", "touch", "mkdir", "rm"))
    base = tar(
        directory("./", 0o755),
        directory("bin"),
        member("bin/busybox", busybox, mode=0o755),
        *applets,
        member("bin/su", b"x", mode=0o4755),
        link("bin/also", "bin/su", tarfile.LNKTYPE),
        directory("srv"),
        directory("srv/private", 0o750, uid=12, gid=34),
        directory("etc"),
        member("etc/motd", b"lower\n"),
        member("etc/passwd", b"root:x:0:0::/:/bin/sh\n"),
        member("gone", b""),
        directory("hidden"),
        member("hidden/old", b""),
        directory("replaced"),
        member("replaced/one", b"old\n"),
        member("replaced/two", b"old\n"),
    )
    middle = tar(
        member(".wh.gone"),
        member("hidden/.wh..wh..opq"),
        member("hidden/young", b""),
        member("srv/private/deep/file", b""),
        member(".wh.replaced"),
        member("replaced/two", b"new\n"),
    )
    top = tar(member("etc/motd", b"upper\n", mode=0o600, uid=70000), member("new/file", b""))
    return layout(("layers:1", ImageFiles([base, middle, top])))


def test_a_container_sees_the_sum_of_its_layers(system: System) -> None:
    system.run("image", "load", input=image(), text=False)
    try:
        said = system.output("run", "--rm", "-m", "256m", "-c", "1", "layers:1", "/bin/sh", "-c", LOOK).splitlines()
    finally:
        system.run("image", "delete", "layers:1")
    found, rest = [line for line in said if " " not in line and "/" in line], [line for line in said if " " in line]
    assert {"etc/motd", "hidden/young", "srv/private/deep/file", "new/file", "replaced/two"} <= set(found)
    assert not {"hidden/old", "replaced/one"} & set(found)
    assert "gone" not in said
    assert {"srv/private 750 12:34", "srv/private/deep 755 0:0", "etc/motd 600 70000:0", "bin/su 4755 0:0"} <= set(rest)
    assert {"upper", "new", "2", "same", "writable"} <= set(said)
    assert "old" not in said
