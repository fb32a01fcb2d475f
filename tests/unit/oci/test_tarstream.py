"""The header walker against Python's tarfile, on tars of every format and on garbage."""

import contextlib
import io
import tarfile
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.ociarchive import directory, link, member, tar

from container.errors import ContainerError
from container.oci import tarheader
from container.oci.tarheader import Entry
from container.oci.tarstream import TarReader

# a NUL ends a name in every format, and tarfile cannot write a surrogate in pax records
NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=300)
KINDS = st.sampled_from(
    [
        tarfile.REGTYPE,
        tarfile.LNKTYPE,
        tarfile.SYMTYPE,
        tarfile.CHRTYPE,
        tarfile.BLKTYPE,
        tarfile.DIRTYPE,
        tarfile.FIFOTYPE,
    ]
)


@st.composite
def members(draw: st.DrawFn) -> tuple[tarfile.TarInfo, bytes]:
    kind = draw(KINDS)
    data = draw(st.binary(max_size=1600)) if kind == tarfile.REGTYPE else b""
    return member(
        "m" + draw(NAMES),
        data,
        type=kind,
        linkname=draw(NAMES) if kind in (tarfile.LNKTYPE, tarfile.SYMTYPE) else "",
        mode=draw(st.integers(0, 0o7777)),
        uid=draw(st.integers(0, 2**32 - 1)),
        gid=draw(st.integers(0, 2**32 - 1)),
        mtime=draw(st.integers(0, 2**34)),
        devmajor=draw(st.integers(0, 4095)) if kind in (tarfile.CHRTYPE, tarfile.BLKTYPE) else 0,
        devminor=draw(st.integers(0, 2**20)) if kind in (tarfile.CHRTYPE, tarfile.BLKTYPE) else 0,
    )


def pieces(data: bytes, size: int) -> Callable[[], bytes]:
    parts = (data[at : at + size] for at in range(0, len(data), size))
    return lambda: next(parts, b"")


def walked(data: bytes, size: int = 1 << 16) -> Iterator[tuple[Entry, bytes]]:
    reader = TarReader(pieces(data, size))
    for entry in reader:
        yield entry, b"".join(reader.data())


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(members(), max_size=5), st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]), st.integers(1, 3000))
def test_reads_what_tarfile_wrote(items: list[tuple[tarfile.TarInfo, bytes]], format: int, size: int) -> None:
    found = list(walked(tar(*items, format=format), size))
    assert len(found) == len(items)
    for (entry, data), (info, content) in zip(found, items, strict=True):
        name = info.name + "/" if info.isdir() and not info.name.endswith("/") else info.name
        assert (entry.name.decode(), entry.kind, data) == (name, info.type, content)
        assert (entry.mode, entry.uid, entry.gid) == (info.mode, info.uid, info.gid)
        assert (entry.mtime, entry.link.decode()) == (info.mtime, info.linkname)
        assert (entry.major, entry.minor) == (info.devmajor, info.devminor)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    st.builds(
        Entry,
        name=st.binary(min_size=1, max_size=300).map(lambda name: b"m" + name.replace(b"\0", b"0") + b"m"),
        kind=KINDS,
        mode=st.integers(0, 0o7777),
        uid=st.integers(0, 2**32 - 1),
        gid=st.integers(0, 2**32 - 1),
        mtime=st.integers(0, 2**32 - 1),
        link=st.binary(max_size=300).map(lambda name: name.replace(b"\0", b"0")),
        xattrs=st.dictionaries(st.sampled_from([b"user.a", b"security.capability"]), st.binary(max_size=1200)),
    )
)
def test_a_written_header_reads_back_as_the_same(entry: Entry) -> None:
    reader = TarReader(pieces(tarheader.build(entry) + bytes(1024), 512))
    (found,) = list(reader)
    if entry.kind == tarfile.DIRTYPE:
        found.name = found.name.removesuffix(b"/")
    assert found == entry


@given(st.lists(members(), min_size=1, max_size=3))
def test_tarfile_reads_what_is_written(items: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    source = TarReader(pieces(tar(*items), 4096))
    output = io.BytesIO()
    for entry in source:
        entry.name = entry.name.rstrip(b"/")
        output.write(tarheader.build(entry) + b"".join(source.data()) + tarheader.padding(entry.size))
    output.write(bytes(1024))
    output.seek(0)
    with tarfile.open(fileobj=output) as copy:
        names = [info.name for info in copy]
    assert names == [info.name.rstrip("/") for info, _ in items]


@given(st.binary(max_size=3000), st.integers(0, 2000))
def test_garbage_is_refused_with_an_error_of_ours(noise: bytes, at: int) -> None:
    good = tar(member("a", b"x" * 700), directory("d"), link("l", "a"))
    for data in (noise, good[:at] + noise + good[at:], good[:at]):
        with contextlib.suppress(ContainerError):
            list(walked(data, 700))


def test_data_that_nobody_takes_is_skipped() -> None:
    reader = TarReader(pieces(tar(member("a", b"x" * 5000), member("b", b"y")), 100))
    names = []
    for entry in reader:
        names.append(entry.name)
        next(reader.data())
    assert names == [b"a", b"b"]


def test_a_stream_without_an_end_mark_or_final_padding_is_complete() -> None:
    data = tar(member("a", b"abc"))[: 512 + 3]
    assert [content for _, content in walked(data)] == [b"abc"]
    with pytest.raises(ContainerError, match="ends in the middle"):
        list(walked(data[:-1]))


def test_global_pax_records_apply_until_overridden() -> None:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"uid": "77"}) as archive:
        archive.addfile(member("a")[0])
    assert next(walked(output.getvalue()))[0].uid == 77


def old_sparse() -> bytes:
    """A GNU sparse file as old GNU tar wrote it: 3 bytes at 1000, size 5000."""
    info = member("sparse", b"abc")[0]
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[156:157] = b"S"
    block[386:410] = b"%011o\0%011o\0" % (1000, 3)
    block[483:495] = b"%011o\0" % 5000
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + b"abc" + bytes(509) + bytes(1024)


@pytest.mark.parametrize(
    "data",
    [
        old_sparse(),
        tar(member("x", b"abc", pax_headers={"GNU.sparse.map": "1000,3", "GNU.sparse.size": "5000"})),
        tar(
            member(
                "x",
                b"1\n1000\n3\n".ljust(512, b"\0") + b"abc",
                pax_headers={
                    "GNU.sparse.major": "1",
                    "GNU.sparse.minor": "0",
                    "GNU.sparse.name": "sparse",
                    "GNU.sparse.realsize": "5000",
                },
            )
        ),
    ],
    ids=["old", "pax 0.1", "pax 1.0"],
)
def test_sparse_files_are_expanded(data: bytes) -> None:
    ((entry, content),) = list(walked(data, 600))
    assert entry.size == 5000
    assert content == bytes(1000) + b"abc" + bytes(3997)


def test_a_sparse_map_that_does_not_fit_is_refused() -> None:
    for sparse_map in ("10,2", "0,3,1,1", "4999,3", "x", "-1,3"):
        headers = {"GNU.sparse.map": sparse_map, "GNU.sparse.size": "5000"}
        with pytest.raises(ContainerError, match="sparse map"):
            list(walked(tar(member("x", b"abc", pax_headers=headers))))


def test_a_huge_extension_header_is_refused_before_it_is_read() -> None:
    header = tarheader.build(Entry(b"x", kind=b"L", size=1 << 32))
    with pytest.raises(ContainerError, match="extension header of 4294967296 bytes"):
        list(walked(header))
