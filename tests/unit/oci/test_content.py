"""The content store keeps what is complete and true, whatever happens to its writer."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from support.ociarchive import ImageFiles, digest, member, tar

from container.errors import ContainerError, ErrorCode
from container.model.image import Descriptor
from container.oci.content import MAX_DOCUMENT, ContentStore


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    content = ContentStore(str(tmp_path / "images"))
    content.open()
    return content


def files(store: ContentStore) -> set[str]:
    found = {str(path.relative_to(store.directory)) for path in Path(store.directory).rglob("*") if path.is_file()}
    return found - {"oci-layout"}


def test_a_blob_is_in_the_store_after_its_commit_only(store: ContentStore) -> None:
    with store.ingest() as ingest:
        found, size = ingest.add([b"ab", memoryview(b"c")], None, "x")
        descriptor = Descriptor("x", found, size)
        assert (found, size) == (digest(b"abc"), 3)
        assert ingest.has(descriptor)
        assert not store.has(descriptor)
        ingest.commit([found])
        assert store.has(descriptor)
    assert files(store) == {f"blobs/sha256/{found[7:]}"}


def test_a_session_that_is_left_leaves_nothing(store: ContentStore) -> None:
    with store.ingest() as ingest:
        ingest.add([b"abc"], None, "x")
    assert files(store) == set()


def test_a_digest_that_lies_is_named(store: ContentStore) -> None:
    with store.ingest() as ingest, pytest.raises(ContainerError, match="my blob is corrupt") as raised:
        ingest.add([b"abc"], digest(b"abd"), "my blob")
    assert raised.value.code is ErrorCode.INVALID_ARGUMENT


def test_what_a_crash_left_is_swept(store: ContentStore) -> None:
    store.ingest().__enter__().add([b"abc"], None, "x")
    (Path(store.directory) / ".index.json.123.tmp").write_bytes(b"half")
    store.open()
    assert files(store) == set()


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    if os.getuid() or not shutil.which("mount"):
        pytest.skip("needs root to mount a small tmpfs")
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", small], check=False).returncode:
        pytest.skip("cannot mount a tmpfs here")
    try:
        store = ContentStore(str(small / "images"))
        store.open()
        with (
            pytest.raises(ContainerError, match=r"cannot store my blob: No space left on device"),
            store.ingest() as ingest,
        ):
            ingest.add([bytes(1 << 20)], None, "my blob")
        assert files(store) == set()
    finally:
        subprocess.run(["umount", small], check=True)


def test_references_are_an_oci_layout(store: ContentStore) -> None:
    image = ImageFiles([tar(member("a", b"x"))])
    top = image.manifest()
    with store.ingest() as ingest:
        ingest.commit([ingest.add([data], None, "x")[0] for data in image.blobs.values()])
    descriptor = Descriptor(top["mediaType"], top["digest"], top["size"])
    store.set_references({"docker.io/library/b:1": descriptor, "docker.io/library/a:1": descriptor})
    assert list(store.references().items()) == [
        ("docker.io/library/a:1", descriptor),
        ("docker.io/library/b:1", descriptor),
    ]
    if shutil.which("skopeo"):
        source = f"oci:{store.directory}:docker.io/library/a:1"
        subprocess.run(["skopeo", "inspect", "--raw", source], check=True, capture_output=True)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"manifests": [{}]}', '{"manifests": [{"annotations": 1}]}'])
def test_a_corrupt_index_is_reported_with_its_path(store: ContentStore, text: str) -> None:
    path = Path(store.directory) / "index.json"
    path.write_text(text)
    with pytest.raises(ContainerError, match=str(path)) as raised:
        store.references()
    assert raised.value.code is ErrorCode.INTERNAL


@pytest.mark.parametrize("data", [b"[]", b"{", b"\xff", b"[" * 100_000, json.dumps("x" * MAX_DOCUMENT).encode()])
def test_a_blob_that_is_no_document_is_refused(store: ContentStore, data: bytes) -> None:
    with store.ingest() as ingest:
        found, _ = ingest.add([data], None, "x")
        with pytest.raises(ContainerError, match="is not a JSON object"):
            ingest.document(found)


def test_a_digest_cannot_name_a_path(store: ContentStore) -> None:
    for text in ("../../etc/passwd", "sha256:../../../etc", "sha512:" + "0" * 128, ""):
        with pytest.raises(ContainerError):
            store.path(text)
