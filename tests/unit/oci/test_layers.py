"""Layers become squashfs with everything that a layer can say: the real sqfstar's work, read with unsquashfs."""

import gzip
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest
from support.ociarchive import digest, directory, link, member, tar

from container.errors import ContainerError, ErrorCode
from container.oci.layerindex import LayerIndex
from container.oci.layers import LayerBuild, LayerStore
from container.oci.layerstream import stored
from container.oci.pipes import Cancellation, Cancelled


class Built(NamedTuple):
    path: str
    index: LayerIndex


@dataclass
class Workshop:
    """Builds layers in a directory of its own."""

    path: Path

    @property
    def store(self) -> LayerStore:
        return LayerStore(str(self.path))

    def build(self, layer: bytes, below: Sequence[Built] = (), diff_id: str | None = None) -> Built:
        blob = self.path.parent / "blob"
        blob.write_bytes(gzip.compress(layer, 1))
        with (
            Cancellation() as cancellation,
            LayerBuild(self.store, stored(str(blob)), diff_id or digest(layer), cancellation, lambda _: None) as build,
        ):
            if build.feed().stacked:
                build.put_on([one.path for one in below], stored(str(blob)))
            chain = digest("".join(one.path for one in below).encode())
            return Built(*build.finish([one.index for one in below], chain))

    def find(self, layer: bytes, below: Sequence[Built]) -> str | None:
        chain = digest("".join(one.path for one in below).encode())
        found = self.store.find(digest(layer), [one.index for one in below], chain)
        return found and found[0]

    def list(self, layer: bytes, below: Sequence[Built] = ()) -> dict[str, str]:
        return listing(self.build(layer, below)[0])


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    path = tmp_path / "layers"
    path.mkdir()
    return Workshop(path)


def listing(squashfs: str) -> dict[str, str]:
    """Path → `mode owner size-or-device time [link]`; the sizes of directories are squashfs's own and left out."""
    command = ["unsquashfs", "-lln", "-UTC", "-d", "", squashfs]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = {}
    for line in output.splitlines():
        match = re.fullmatch(r"(\S{10}) (\S+) +(\d+(?:, *\d+)?) (\S+ \S+) ([^>]*?)(?: -> (.*))?", line)
        if match:
            mode, owner, size, time, path, target = match.groups()
            middle = [] if mode.startswith("d") else [size.replace(" ", "")]
            when = "" if time == "1970-01-01 00:16" else f" {time}"
            found[path or "/"] = " ".join([mode, owner, *middle]) + when + (f" -> {target}" if target else "")
    return found


def test_modes_owners_links_and_devices_survive(workshop: Workshop) -> None:
    layer = tar(
        directory("./", 0o755),
        directory("bin", 0o1777, uid=3, gid=4),
        member("bin/su", b"x", mode=0o4755, uid=70000),
        link("bin/sh", "su"),
        link("bin/hard", "bin/su", tarfile.LNKTYPE),
        link("bin/harder", "./bin/hard", tarfile.LNKTYPE),
        member("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666),
        member("disk", type=tarfile.BLKTYPE, devmajor=259, devminor=4, mode=0o660),
        member("pipe", type=tarfile.FIFOTYPE),
        member("n" * 255 + "/" + "é\n" * 60, b"long"),
    )
    found = workshop.list(layer)
    assert found["/bin"] == "drwxrwxrwt 3/4"
    assert found["/bin/su"] == found["/bin/hard"] == found["/bin/harder"] == "-rwsr-xr-x 70000/0 1"
    assert found["/bin/sh"] == "lrw-r--r-- 0/0 2 -> su" or found["/bin/sh"] == "lrwxrwxrwx 0/0 2 -> su"
    assert found["/null"] == "crw-rw-rw- 0/0 1,3"
    assert found["/disk"] == "brw-rw---- 0/0 259,4"
    assert found["/pipe"].startswith("prw-r--r--")


@pytest.mark.parametrize("start", ["../../", "/", "./", "../" * 30, ""])
def test_long_targets_of_symbolic_links_survive(workshop: Workshop, start: str) -> None:
    target, name = start + "t" * 150, "n" * 150
    found = workshop.list(tar(link(name, target, uid=3_000_000, mode=0o777), member("after", b"x")))
    assert found[f"/{name}"] == f"lrwxrwxrwx 3000000/0 {len(target)} -> {target}"
    assert found["/after"].startswith("-rw-r--r-- 0/0 1")


def test_xattrs_survive_but_not_those_of_overlayfs(workshop: Workshop, tmp_path: Path) -> None:
    if os.getuid():
        pytest.skip("unsquashfs sets security.* for root only")
    capability = "\x01\0\0\x02\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
    layer = tar(
        member("ping", b"x", xattrs={"security.capability": capability, "user.note": "a=b\n"}),
        member("moved", b"x", xattrs={"trusted.overlay.redirect": "/etc", "system.posix_acl_access": "z"}),
    )
    path, _ = workshop.build(layer)
    subprocess.run(["unsquashfs", "-q", "-n", "-d", tmp_path / "out", path], check=True, stdout=subprocess.DEVNULL)
    assert os.getxattr(tmp_path / "out/ping", "security.capability") == capability.encode()
    assert os.getxattr(tmp_path / "out/ping", "user.note") == b"a=b\n"
    assert os.listxattr(tmp_path / "out/moved") == []


@pytest.mark.parametrize("count", [0, 1500, 4000])
def test_the_root_directory_has_its_metadata(workshop: Workshop, tmp_path: Path, count: int) -> None:
    lower = tar(directory("./", 0o1711, uid=3, gid=70000, mtime=5, xattrs={"user.root": "yes"}), member("x", b""))
    upper = tar(*(member(f"{number % 7}/{number}", b"x", xattrs={"user.n": str(number)}) for number in range(count)))
    first = workshop.build(lower)
    for path in (first.path, workshop.build(upper, [first]).path):
        assert listing(path)["/"].startswith("drwx--x--t 3/70000")
        out = tmp_path / Path(path).name
        command = ["unsquashfs", "-q", "-n", "-d", out, "-excludes", path, ".container-root-owner"]
        subprocess.run(command, check=os.getuid() == 0, stdout=subprocess.DEVNULL)
        assert os.listxattr(out) == ["user.root"]
        assert os.getxattr(out, "user.root") == b"yes"
        assert out.stat().st_mtime == 5


def test_whiteouts_become_devices_and_opaque_marks_become_xattrs(workshop: Workshop, tmp_path: Path) -> None:
    layer = tar(
        directory("etc"),
        member("etc/.wh.passwd"),
        member("before/.wh..wh..opq"),
        directory("before", 0o700, uid=5),
        directory("after", 0o711),
        member("after/.wh..wh..opq"),
        member(".wh.gone"),
        member("after/.wh..wh.plnk"),
    )
    path, index = workshop.build(layer)
    found = listing(path)
    assert found["/etc/passwd"] == "c--------- 0/0 0,0 1970-01-01 00:00"
    assert found["/gone"] == "c--------- 0/0 0,0 1970-01-01 00:00"
    assert found["/before"] == "drwx------ 5/0"
    assert found["/after"] == "drwx--x--x 0/0"
    assert index.opaque == {b"before", b"after"}
    assert not any(".wh." in name for name in found)
    if os.getuid() == 0:
        subprocess.run(["unsquashfs", "-q", "-n", "-d", tmp_path / "out", path], check=True, stdout=subprocess.DEVNULL)
        for name in ("before", "after"):
            assert os.getxattr(tmp_path / "out" / name, "trusted.overlay.opaque") == b"y"


def test_a_whiteout_hides_lower_layers_only(workshop: Workshop) -> None:
    layer = tar(member(".wh.file"), member("file", b"new"), member("dir/new", b"x"), member(".wh.dir"))
    path, index = workshop.build(layer, [workshop.build(tar(directory("dir", 0o700, uid=9, gid=9)))])
    found = listing(path)
    assert found["/file"] == "-rw-r--r-- 0/0 3"
    assert found["/dir"] == "drwx------ 9/9"  # it was there when something came into it
    assert found["/dir/new"] == "-rw-r--r-- 0/0 1"
    assert index.opaque == {b"dir"}


def test_nothing_is_removed_from_a_directory_that_only_an_opaque_mark_names(workshop: Workshop) -> None:
    lower = workshop.build(tar(directory("dir", 0o700, uid=9), member("dir/x", b""), member("dir/sub/y", b"")))
    top = tar(member("dir/sub/.wh.y"), member("dir/.wh..wh..opq"), member("dir/.wh.x"), member("dir/sub/.wh..wh..opq"))
    path, index = workshop.build(top, [lower])
    found = {name for name in listing(path) if not name.startswith("/.container-")}
    assert found == {"/", "/dir"}  # overlayfs would show whiteouts in what hides all that is below
    assert (index.opaque, index.hidden) == ({b"dir"}, frozenset())


def test_unlisted_directories_look_as_lower_layers_make_them(workshop: Workshop) -> None:
    lowest = tar(directory("./", 0o700, uid=7, gid=8), directory("srv", 0o750, uid=1), directory("srv/a", 0o705, gid=2))
    middle = tar(directory("srv", 0o711, uid=3), member("other", b""))
    top = tar(member("srv/a/b/file", b"x"))
    first = workshop.build(lowest)
    second = workshop.build(middle, [first])
    built = workshop.build(top, [first, second])
    found = listing(built.path)
    assert found["/"] == "drwx------ 7/8"
    assert found["/srv"] == "drwx--x--x 3/0"
    assert found["/srv/a"] == "drwx---r-x 0/2"
    assert found["/srv/a/b"] == "drwxr-xr-x 0/0 1970-01-01 00:00"
    alone = workshop.build(top)
    assert listing(alone.path)["/srv"] == "drwxr-xr-x 0/0 1970-01-01 00:00"
    assert alone.path != built.path
    assert workshop.find(top, [first, second]) == built.path
    assert workshop.find(top, []) == alone.path
    assert workshop.find(top, [first]) is None


def test_a_directory_that_a_lower_layer_removed_starts_anew(workshop: Workshop) -> None:
    lowest = tar(directory("srv", 0o700, uid=7), directory("var", 0o700, uid=7), directory("var/lib", 0o700, uid=7))
    middle = tar(member(".wh.srv"), member("var/.wh..wh..opq"))
    top = tar(member("srv/file", b""), member("var/lib/file", b""))
    first = workshop.build(lowest)
    second = workshop.build(middle, [first])
    found = workshop.list(top, [first, second])
    assert [found[path].split()[1] for path in ("/srv", "/var", "/var/lib")] == ["0/0", "7/0", "0/0"]


@pytest.mark.parametrize("owner", [0, 12345, 2**32 - 1])
def test_the_root_directory_is_what_the_layer_says(workshop: Workshop, owner: int) -> None:
    layer = tar(member("file", b"", uid=1, gid=1), directory(".", 0o1755, uid=owner, gid=owner, mtime=5))
    assert workshop.list(layer)["/"] == f"drwxr-xr-t {owner}/{owner} 1970-01-01 00:00"


@pytest.mark.parametrize("layer", [bytes(1024), b""])
def test_an_empty_layer_is_an_empty_root(workshop: Workshop, layer: bytes) -> None:
    found = workshop.list(layer)
    if os.getuid() != 0:  # a whiteout, which overlayfs never shows, brings in the owner that nothing else has
        assert found.pop("/.container-root-owner").startswith("c--------- 0/0 0,0")
    assert found == {"/": "drwxr-xr-x 0/0 1970-01-01 00:00"}


def test_names_never_leave_the_layer(workshop: Workshop) -> None:
    layer = tar(
        member("../../up", b""),
        member("/abs", b""),
        member("a/../../b", b""),
        link("out", "/"),
        member("out/in", b""),
        link("rel", "../../.."),
        member("rel/deep/in", b""),
        link("loop", "loop"),
    )
    assert set(workshop.list(layer)) == {"/", "/up", "/abs", "/b", "/out", "/in", "/rel", "/deep", "/deep/in", "/loop"}


def test_members_below_a_symbolic_link_of_the_layer_land_where_it_leads(workshop: Workshop) -> None:
    layer = tar(directory("usr/lib", 0o700), link("lib", "usr/lib"), member("lib/x", b"1"), member("lib/y/z", b"2"))
    assert {"/usr/lib/x", "/usr/lib/y/z"} <= set(workshop.list(layer))


def test_the_last_of_two_members_with_one_name_wins(workshop: Workshop) -> None:
    layer = tar(
        member("file", b"one"),
        member("file", b"twotwo"),
        directory("dir", 0o700),
        directory("dir", 0o711, uid=4),
        directory("tree"),
        member("tree/a/b", b"x"),
        member("tree", b"now a file"),
        member("leaf", b"x"),
        directory("leaf", 0o700),
        member("leaf/in", b"x"),
        link("sym", "dir"),
        member("sym/via", b"x"),
        member("sym", b"plain"),
    )
    found = workshop.list(layer)
    assert found["/file"] == "-rw-r--r-- 0/0 6"
    assert found["/dir"] == "drwx--x--x 4/0"
    assert found["/tree"] == "-rw-r--r-- 0/0 10"
    assert found["/leaf"] == "drwx------ 0/0"
    assert found["/sym"] == "-rw-r--r-- 0/0 5"
    assert {"/leaf/in", "/dir/via"} <= set(found)
    assert "/tree/a" not in found


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([directory("d"), link("x", "d", tarfile.LNKTYPE)], "hard link to the directory d"),
        ([member("f", b""), member("f/x", b"")], "both a file f and something in it"),
        ([member("n" * 256, b"")], "is too long"),
        ([link("a", "b"), link("b", "a"), member("a/x", b"")], "too many symbolic links"),
        ([member("a/.wh...", b"")], "is a whiteout of nothing"),
        ([member("./", b"")], "replaces the root directory"),
    ],
)
def test_what_cannot_be_unpacked_is_refused_by_name(
    workshop: Workshop, members: list[tuple[tarfile.TarInfo, bytes]], message: str
) -> None:
    layer = tar(*members)
    with pytest.raises(ContainerError, match=re.escape(message)) as raised:
        workshop.build(layer)
    assert digest(layer) in raised.value.message
    assert os.listdir(workshop.path) == []


def test_a_diff_id_that_lies_is_refused_and_leaves_nothing(workshop: Workshop) -> None:
    layer = tar(member("a", b"x"))
    with pytest.raises(ContainerError, match="its contents have the digest") as raised:
        workshop.build(layer, diff_id="sha256:" + "0" * 64)
    assert raised.value.code is ErrorCode.INVALID_ARGUMENT
    assert os.listdir(workshop.path) == []


def test_bytes_after_the_end_mark_count_for_the_diff_id(workshop: Workshop) -> None:
    assert "/a" in workshop.list(tar(member("a", b"x")) + bytes(10240) + b"trailer")


def test_a_sparse_file_takes_no_room(workshop: Workshop) -> None:
    headers = {"GNU.sparse.map": "0,1", "GNU.sparse.size": str(1 << 28)}
    path, _ = workshop.build(tar(member("big", b"x", pax_headers=headers)))
    assert listing(path)["/big"] == f"-rw-r--r-- 0/0 {1 << 28}"
    assert os.path.getsize(path) < 100_000


def test_without_sqfstar_the_package_is_named(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ContainerError, match="install the package squashfs-tools"):
        workshop.build(tar(member("a", b"x")))
    assert os.listdir(workshop.path) == []


def test_sqfstar_that_dies_is_reported_with_what_it_said(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "bin" / "sqfstar"
    fake.parent.mkdir()
    fake.write_text('#!/bin/sh\nhead -c 1000 >/dev/null; echo "Write failed because No space left" >&2; exit 1\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
    with pytest.raises(ContainerError, match="No space left") as raised:
        workshop.build(tar(member("a", os.urandom(4 << 20))))
    assert raised.value.code is ErrorCode.INTERNAL
    assert os.listdir(workshop.path) == []


def test_a_cancelled_build_leaves_nothing(workshop: Workshop) -> None:
    blob = workshop.path.parent / "blob"
    blob.write_bytes(b"")
    with Cancellation() as cancellation:
        cancellation.set()
        with (
            pytest.raises(Cancelled),
            LayerBuild(workshop.store, stored(str(blob)), digest(b""), cancellation, lambda _: None) as build,
        ):
            build.feed()
    assert os.listdir(workshop.path) == []


@pytest.mark.skipif(not shutil.which("umoci") or os.getuid() != 0, reason="needs umoci and root")
def test_a_layer_of_this_system_is_what_umoci_unpacks(workshop: Workshop, tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree("/etc", source / "etc", symlinks=True, ignore_dangling_symlinks=True)
    os.link(source / "etc/passwd", source / "etc/hard")
    os.mknod(source / "etc/dev", 0o20644, os.makedev(5, 1))
    os.chown(source / "etc/hostname", 1234, 4321)
    layout = tmp_path / "layout"
    for command in (
        ["umoci", "init", "--layout", layout],
        ["umoci", "new", "--image", f"{layout}:x"],
        ["umoci", "insert", "--image", f"{layout}:x", source, "/"],
        ["umoci", "unpack", "--image", f"{layout}:x", tmp_path / "bundle"],
    ):
        subprocess.run(command, check=True, capture_output=True)
    (blob,) = [path for path in (layout / "blobs/sha256").iterdir() if path.read_bytes()[:2] == b"\x1f\x8b"]
    squashfs, _ = workshop.build(gzip.decompress(blob.read_bytes()))
    subprocess.run(["unsquashfs", "-q", "-n", "-d", tmp_path / "ours", squashfs], check=True, capture_output=True)
    assert tree(tmp_path / "ours") == tree(tmp_path / "bundle/rootfs")


def tree(root: Path) -> dict[str, tuple[object, ...]]:
    found = {}
    for path in root.rglob("*"):
        status = path.lstat()
        content = path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else status.st_rdev
        size = status.st_nlink if path.is_file() else 0
        owner = (status.st_uid, status.st_gid, int(status.st_mtime))
        found[str(path.relative_to(root))] = (status.st_mode, *owner, size, content)
    return found
