import hashlib
import zlib
from pathlib import Path
from typing import Any

import pytest

from container.errors import ContainerError, ErrorCode
from container.model.files import CommitOptions
from container.model.image import Descriptor, Platform
from container.oci import commit, image
from container.oci.content import ContentStore
from container.oci.mediatypes import CONFIG, MANIFEST

LAYER = b"member" * 100 + bytes(1024)


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    store = ContentStore(str(tmp_path))
    store.open()
    return store


def reader(data: bytes) -> Any:
    chunks = iter([data[:700], data[700:], b""])
    return lambda: next(chunks)


def test_a_layer_is_compressed_and_known_by_its_plain_digest(store: ContentStore) -> None:
    with store.ingest() as ingest:
        layer, diff_id = commit.take_layer(ingest, reader(LAYER), lambda _: None)
        assert diff_id == f"sha256:{hashlib.sha256(LAYER).hexdigest()}"
        assert zlib.decompress(Path(ingest.path(layer.digest)).read_bytes(), wbits=31) == LAYER


def test_a_layer_that_was_cut_off_is_refused(store: ContentStore) -> None:
    with store.ingest() as ingest, pytest.raises(ContainerError) as caught:
        commit.take_layer(ingest, reader(LAYER[:-1]), lambda _: None)
    assert caught.value.code is ErrorCode.INTERRUPTED


def test_documents_have_one_layer_more_and_the_changes(store: ContentStore) -> None:
    base = image.Variant(
        Platform("linux", "amd64"),
        Descriptor(MANIFEST, "sha256:" + "1" * 64, 1),
        Descriptor(CONFIG, "sha256:" + "2" * 64, 1),
        [Descriptor("layer", "sha256:" + "3" * 64, 1)],
        {"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": ["sha256:a"]}, "config": {"Env": ["A=1"]}},
    )
    options = CommitOptions(author="ann", message="why", changes=["ENV B=2"])
    with store.ingest() as ingest:
        layer, diff_id = commit.take_layer(ingest, reader(LAYER), lambda _: None)
        top = commit.add_documents(ingest, base, layer, diff_id, options, "2026-01-02T03:04:05Z")
        (variant,) = image.variants(ingest, top)
    assert variant.diff_ids() == ["sha256:a", diff_id]
    assert variant.layers == [base.layers[0], layer]
    assert variant.document["config"] == {"Env": ["A=1", "B=2"]}
    assert variant.document["history"] == [
        {"created": "2026-01-02T03:04:05Z", "created_by": "container commit", "author": "ann", "comment": "why"}
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('CMD ["a", "b c"]', {"Cmd": ["a", "b c"]}),
        ("CMD a b", {"Cmd": ["/bin/sh", "-c", "a b"]}),
        ('entrypoint ["x"]', {"Entrypoint": ["x"]}),
        ("ENV A=1 B='2 3'", {"Env": ["OLD=x", "A=1", "B=2 3"]}),
        ("ENV OLD some words", {"Env": ["OLD=some words"]}),
        ("EXPOSE 80 53/udp", {"ExposedPorts": {"80/tcp": {}, "53/udp": {}}}),
        ('LABEL a="b c"', {"Labels": {"a": "b c"}}),
        ("STOPSIGNAL SIGQUIT", {"StopSignal": "SIGQUIT"}),
        ("USER app:web", {"User": "app:web"}),
        ('VOLUME ["/data"]', {"Volumes": {"/data": {}}}),
        ("WORKDIR /srv", {"WorkingDir": "/srv"}),
    ],
)
def test_instructions(text: str, expected: dict[str, Any]) -> None:
    settings: dict[str, Any] = {"Env": ["OLD=x"]}
    commit.apply(settings, text)
    assert settings == {"Env": ["OLD=x"], **expected}


@pytest.mark.parametrize("text", ["RUN x", "", "CMD", 'CMD ["a"', "CMD [1]", "ENV a", "ENV a='b", "LABEL a=1 b"])
def test_what_is_no_instruction_is_refused(text: str) -> None:
    with pytest.raises(ContainerError, match="invalid change"):
        commit.apply({}, text)
