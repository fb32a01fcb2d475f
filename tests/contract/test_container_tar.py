"""`container-tar`, the host's end of a copy: what it keeps, the rules for destinations, and archives that mean harm."""

import io
import os
import shutil
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from container.linux.native import program

PROGRAM = os.environ.get("CONTAINER_TAR") or program("container-tar")
pytestmark = pytest.mark.skipif(not os.path.exists(PROGRAM), reason="run make -C native")


def pack(path: Path | str) -> bytes:
    return subprocess.run([PROGRAM, "pack", str(path)], check=True, capture_output=True).stdout


def unpack(archive: bytes, path: Path | str, name: str = "top") -> "subprocess.CompletedProcess[bytes]":
    result = subprocess.run([PROGRAM, "unpack", str(path), name], input=archive, capture_output=True)
    assert not any(word in result.stderr for word in (b"Sanitizer", b"runtime error")), result.stderr
    return result


def refusal(archive: bytes, path: Path | str, name: str = "top") -> tuple[str, str]:
    """Code and sentence of a copy that fails."""
    result = unpack(archive, path, name)
    assert result.returncode == 1
    code, _, text = result.stderr.decode().strip().partition("\n")
    return code, text


def archive(*members: tarfile.TarInfo | tuple[tarfile.TarInfo, bytes], format: int = tarfile.PAX_FORMAT) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=format) as tar:
        for member in members:
            info, data = member if isinstance(member, tuple) else (member, b"")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, **fields: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.mode = 0o755
    for key, value in fields.items():
        setattr(info, key, value)
    return info


TOP = member("top", tarfile.DIRTYPE)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    top = tmp_path / "tree"
    deep = top / ("d" * 200) / ("e" * 200)
    deep.mkdir(parents=True)
    (deep / ("f" * 200)).write_bytes(b"deep")
    (top / "big").write_bytes(os.urandom(700_001))
    (top / "empty").touch()
    (top / "closed").mkdir()
    (top / "closed" / "inside").write_bytes(b"x" * 512)
    (top / "closed").chmod(0o555)
    (top / "link").symlink_to("nowhere/" + "l" * 150)
    os.link(top / "big", top / "same")
    os.mkfifo(top / "fifo", 0o640)
    os.utime(top / "empty", (1, 1_000_000_001))
    os.utime(top / "closed", (1, 1_000_000_002))
    (top / os.fsdecode(b"not-\xff-text")).write_bytes(b"bytes")
    return top


def test_a_file_that_is_made_when_it_is_read_has_its_contents() -> None:
    with tarfile.open(fileobj=io.BytesIO(pack("/proc/version"))) as tar:
        (copied,) = tar.getmembers()
        contents = tar.extractfile(copied)
        assert contents is not None
        assert contents.read() == Path("/proc/version").read_bytes()


def test_a_tree_arrives_as_it_was(tree: Path, tmp_path: Path) -> None:
    result = unpack(pack(tree), tmp_path / "copy", "tree")
    assert (result.returncode, result.stdout.decode()) == (0, str(tmp_path / "copy"))
    for path in sorted(tree.rglob("*")):
        other = tmp_path / "copy" / path.relative_to(tree)
        before, after = path.lstat(), other.lstat()
        assert (before.st_mode, int(before.st_mtime)) == (after.st_mode, int(after.st_mtime)), path
        if path.is_symlink():
            assert os.readlink(path) == os.readlink(other)
        elif path.is_file():
            assert path.read_bytes() == other.read_bytes()
    assert (tmp_path / "copy/big").stat().st_ino == (tmp_path / "copy/same").stat().st_ino


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_archives_of_other_programs_are_read(tmp_path: Path, format: int) -> None:
    long = "n" * 90 if format == tarfile.USTAR_FORMAT else "n" * 120
    name = f"top/{'p' * 90}/{long}"
    stream = archive(TOP, (member(name, mtime=5), b"text"), member("top/link", tarfile.SYMTYPE, linkname=long))
    assert unpack(stream, tmp_path).returncode == 0
    assert (tmp_path / name).read_bytes() == b"text"
    assert (tmp_path / name).stat().st_mtime == 5
    assert os.readlink(tmp_path / "top/link") == long


def test_sizes_and_times_that_octal_digits_cannot_hold(tmp_path: Path) -> None:
    stream = archive((member("top", mtime=2**33 + 7, uid=2**31, gid=2**31), b"x"), format=tarfile.GNU_FORMAT)
    assert unpack(stream, tmp_path).returncode == 0
    assert (tmp_path / "top").stat().st_mtime == 2**33 + 7


FILE, DIRECTORY = archive((member("x"), b"new")), archive(member("x", tarfile.DIRTYPE), (member("x/y"), b"new"))


@pytest.mark.parametrize(
    ("stream", "path", "lands"),
    [
        (FILE, "dir", "dir/x"),
        (FILE, "dir/", "dir/x"),
        (FILE, "absent", "absent"),
        (FILE, "file", "file"),
        (FILE, "to-file", "file"),
        (FILE, "to-dir", "to-dir/x"),
        (DIRECTORY, "dir", "dir/x"),
        (DIRECTORY, "absent", "absent"),
        (DIRECTORY, "absent/", "absent"),
    ],
)
def test_where_a_copy_lands(tmp_path: Path, stream: bytes, path: str, lands: str) -> None:
    _destinations(tmp_path)
    result = unpack(stream, f"{tmp_path}/{path}", "x")
    assert (result.stderr, result.stdout.decode()) == (b"", f"{tmp_path}/{lands}")
    found = tmp_path / lands
    assert (found if found.is_file() else found / "y").read_bytes() == b"new"


@pytest.mark.parametrize(
    ("stream", "path", "message"),
    [
        (FILE, "no/", "destination directory does not exist: {}/no/"),
        (FILE, "no/file", "destination directory does not exist: {}/no"),
        (FILE, "file/", "destination is not a directory: {}/file/"),
        (DIRECTORY, "file/", "destination is not a directory: {}/file/"),
        (DIRECTORY, "file", "cannot copy directory over existing file: {}/file"),
    ],
)
def test_destinations_that_are_refused(tmp_path: Path, stream: bytes, path: str, message: str) -> None:
    _destinations(tmp_path)
    assert refusal(stream, f"{tmp_path}/{path}", "x")[1] == message.format(tmp_path)


def _destinations(base: Path) -> None:
    (base / "dir").mkdir()
    (base / "file").write_bytes(b"old")
    (base / "to-file").symlink_to("file")
    (base / "to-dir").symlink_to("dir")


def test_sources_that_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, message in (
        ("none", "source path does not exist: {}"),
        ("file/", "source path is not a directory: {}"),
        ("file/x", "source path does not exist: {}"),
    ):
        source = f"{tmp_path}/{path}"
        result = subprocess.run([PROGRAM, "pack", source], capture_output=True, text=True)
        assert result.stderr.splitlines()[1] == message.format(source)


# ---- archives that mean harm ----


@pytest.fixture
def jail(tmp_path: Path) -> Path:
    """A destination beside a file that must stay as it is."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "canary").write_bytes(b"alive")
    (tmp_path / "jail").mkdir()
    return tmp_path / "jail"


def held(jail: Path) -> bool:
    outside = jail.parent / "outside"
    return os.listdir(outside) == ["canary"] and (outside / "canary").read_bytes() == b"alive"


EVIL = {
    "dot-dot": [TOP, (member("top/../../outside/canary"), b"dead")],
    "absolute": [TOP, (member("/top/../outside/canary"), b"dead")],
    "through a link": [TOP, member("top/l", tarfile.SYMTYPE, linkname="../../outside"), (member("top/l/canary"), b"d")],
    "through an absolute link": [
        TOP,
        member("top/l", tarfile.SYMTYPE, linkname="/tmp"),
        (member("top/l/container-tar-escaped"), b"dead"),
    ],
    "directory over a link": [
        TOP,
        member("top/l", tarfile.SYMTYPE, linkname="../../outside"),
        member("top/l", tarfile.DIRTYPE, mode=0o777),
        (member("top/l/new"), b"dead"),
    ],
    "hard link out": [TOP, member("top/h", tarfile.LNKTYPE, linkname="top/../../outside/canary")],
    "hard link through a link": [
        TOP,
        member("top/l", tarfile.SYMTYPE, linkname="../../outside"),
        member("top/h", tarfile.LNKTYPE, linkname="top/l/canary"),
        (member("top/h"), b"dead"),
    ],
    "magic link": [TOP, member("top/l", tarfile.SYMTYPE, linkname="/proc/self/root"), (member("top/l/tmp/x"), b"d")],
    "device": [TOP, member("top/d", tarfile.CHRTYPE, devmajor=1, devminor=3)],
    "block device": [TOP, member("top/d", tarfile.BLKTYPE, devmajor=8)],
}


@pytest.mark.parametrize("kind", EVIL)
def test_nothing_outside_of_the_destination_is_touched(jail: Path, kind: str) -> None:
    assert refusal(archive(*EVIL[kind]), jail)[0] == "invalidArgument"
    assert held(jail)
    assert not Path("/tmp/container-tar-escaped").exists()
    assert not any(stat.S_ISCHR(path.lstat().st_mode) for path in jail.rglob("*"))


def test_the_archive_does_not_choose_its_own_name(jail: Path) -> None:
    assert unpack(archive((member("../outside/canary"), b"dead")), jail, "mine").returncode in (0, 1)
    assert held(jail)
    assert os.listdir(jail) in ([], ["mine"])


def test_what_is_a_link_in_the_destination_is_replaced_and_not_followed(jail: Path) -> None:
    (jail / "top").mkdir()
    (jail / "top" / "f").symlink_to(jail.parent / "outside" / "canary")
    assert unpack(archive(TOP, (member("top/f"), b"new")), jail).returncode == 0
    assert held(jail)
    assert not (jail / "top" / "f").is_symlink()


def test_set_id_bits_do_not_travel(jail: Path) -> None:
    assert unpack(archive((member("top", mode=0o6755, uid=0), b"#!")), jail).returncode == 0
    assert (jail / "top").stat().st_mode & 0o7777 == 0o755


def test_a_stream_that_ends_early_is_told(jail: Path) -> None:
    stream = archive((member("top"), b"x" * 5000))
    assert refusal(stream[:3000], jail)[0] == "interrupted"
    assert refusal(b"", jail)[0] == "interrupted"
    assert refusal(b"no tar at all" * 100, jail)[0] == "invalidArgument"


BASE = archive(
    TOP,
    member("top/l", tarfile.SYMTYPE, linkname="../../outside"),
    (member("top/" + "n" * 150), b"d" * 700),
    member("top/h", tarfile.LNKTYPE, linkname="top/" + "n" * 150),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, len(BASE) - 1), st.integers(0, 255)), max_size=8), st.integers(0, len(BASE)))
def test_no_damaged_archive_crashes_it_or_leads_it_out(jail: Path, changes: list[tuple[int, int]], end: int) -> None:
    damaged = bytearray(BASE)
    for at, byte in changes:
        damaged[at] = byte
        block = at // 512 * 512
        if at - block < 500 and damaged[block + 257 : block + 262] == b"ustar":  # a right checksum lets it go deeper
            header = damaged[block : block + 148] + b" " * 8 + damaged[block + 156 : block + 512]
            damaged[block + 148 : block + 156] = b"%06o\0 " % sum(header)
    assert unpack(bytes(damaged[:end] if end % 3 == 0 else damaged), jail).returncode in (0, 1)
    assert held(jail)


def holes(path: Path) -> None:
    """A file of 20 GiB with data in three places."""
    with path.open("wb") as file:
        for offset in (0, 5 << 30, (9 << 30) + 7):
            file.seek(offset)
            file.write(b"data" * 30_000)
        file.truncate(20 << 30)


def same_holes(path: Path, other: Path) -> bool:
    """Size, room and data of both."""
    one, two = path.stat(), other.stat()
    with path.open("rb") as first, other.open("rb") as second:
        for offset in (0, 5 << 30, 9 << 30, 12 << 30):
            first.seek(offset)
            second.seek(offset)
            if first.read(200_000) != second.read(200_000):
                return False
    return one.st_size == two.st_size and two.st_blocks * 512 < 1 << 20


def test_holes_stay_holes(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    holes(tmp_path / "tree" / "holes")
    (tmp_path / "tree" / "empty").touch()
    os.truncate(tmp_path / "tree" / "empty", 1 << 40)
    stream = pack(tmp_path / "tree")
    assert len(stream) < 1 << 20
    assert unpack(stream, tmp_path / "copy").returncode == 0
    assert same_holes(tmp_path / "tree" / "holes", tmp_path / "copy" / "holes")
    assert (tmp_path / "copy" / "empty").stat().st_size == 1 << 40


@pytest.mark.skipif(not shutil.which("tar"), reason="needs GNU tar")
def test_gnu_tar_and_we_agree_on_holes(tmp_path: Path) -> None:
    holes(tmp_path / "holes")
    (tmp_path / "theirs").mkdir()
    subprocess.run(["tar", "-C", str(tmp_path / "theirs"), "-xf", "-"], input=pack(tmp_path / "holes"), check=True)
    assert same_holes(tmp_path / "holes", tmp_path / "theirs" / "holes")
    command = ["tar", "-C", str(tmp_path), "-cSf", "-", "--format=pax", "holes"]
    made = subprocess.run(command, capture_output=True, check=True).stdout
    assert unpack(made, tmp_path / "ours").returncode == 0
    assert same_holes(tmp_path / "holes", tmp_path / "ours")


@pytest.mark.parametrize(
    "text",
    [
        "1\n0\n99999\n",  # more than there is
        "2\n8\n8\n0\n8\n",  # backwards
        "1\n18446744073709551615\n9\n",
        "1\n999999999\n8\n",  # past the end
        "1\n-1\n8\n",
        "99999999\n",
        "x",
        "",
    ],
)
def test_a_map_of_holes_that_makes_no_sense_is_refused(tmp_path: Path, text: str) -> None:
    records = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "1000"}
    info = member("top", pax_headers=records)
    code, _ = refusal(archive((info, text.encode().ljust(512, b"\0") + b"12345678")), tmp_path / "copy")
    assert code in ("invalidArgument", "unsupported", "interrupted")
    assert not (tmp_path / "copy").exists()
