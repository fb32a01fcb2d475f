"""Unfinished blobs beside others that come and go: what is read is the blob, what is put into the store, too."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.ociarchive import digest

from container.errors import ContainerError
from container.model.image import Descriptor
from container.oci.partial import Partial, PartialStore
from container.oci.pipes import Cancellation

DATA = os.urandom(100_000)
BLOB = Descriptor("application/vnd.oci.image.layer.v1.tar", digest(DATA), len(DATA))


class Place:
    """A store of unfinished blobs, and where a finished one goes."""

    def __init__(self, root: Path) -> None:
        (root / "partial").mkdir()
        self.final = root / "final"
        self.store = PartialStore(str(root / "partial"))

    def partial(self) -> Partial:
        return Partial(self.store, BLOB, str(self.final))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def receive(partial: Partial, data: bytes = DATA) -> None:
    with partial.writing(), Cancellation() as cancellation:
        partial.rehash(cancellation)
        partial.append([data[partial.received :]])
        partial.verify()


@contextmanager
def reading(partial: Partial) -> Iterator[list[bytes]]:
    """Reads the blob in a thread from now on; what it read is complete when this is left."""
    found: list[bytes] = []
    opened = threading.Event()

    def run() -> None:
        with Cancellation() as cancellation, partial.tail(cancellation) as read:
            opened.set()
            while data := read(1 << 20):
                found.append(data)

    thread = threading.Thread(target=run)
    thread.start()
    assert opened.wait(60)
    yield found
    thread.join(60)
    assert not thread.is_alive()


def test_who_reads_from_the_beginning_gets_the_whole_blob(place: Place) -> None:
    partial = place.partial()
    with reading(partial) as found:
        receive(partial)
    assert b"".join(found) == DATA


def test_who_waits_for_a_download_makes_no_file(place: Place) -> None:
    with Cancellation() as cancellation, place.partial().tail(cancellation):
        assert os.listdir(place.store.directory) == []


def test_a_blob_that_came_into_the_store_another_way_stays_what_it_is(place: Place) -> None:
    receiving = place.partial()
    with open(receiving.path, "wb") as file:
        file.write(DATA[:500])  # what an earlier attempt left
    partial = place.partial()
    with reading(partial) as found:
        place.final.write_bytes(DATA)
        assert partial.adopt()
    partial.commit()
    assert place.final.read_bytes() == DATA
    assert b"".join(found) == DATA
    assert os.listdir(place.store.directory) == []


def test_who_waits_reads_nothing_of_a_download_that_is_given_up_meanwhile(place: Place) -> None:
    earlier = place.partial()
    with earlier.writing():
        earlier.append([DATA[:500]])
        partial = place.partial()
        with reading(partial) as found:
            earlier.discard()
            receive(partial)
    assert b"".join(found) == DATA


def test_a_blob_that_was_removed_is_gone(place: Place) -> None:
    partial = place.partial()
    receive(partial)
    partial.commit()
    assert not partial.is_gone()
    place.final.unlink()
    assert partial.is_gone()
    with (
        Cancellation() as cancellation,
        partial.tail(cancellation) as read,
        pytest.raises(ContainerError, match="disappeared"),
    ):
        read(1)


def test_what_disappears_while_it_is_set_aside_is_passed_over(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a" * 64, "b" * 64):
        (Path(place.store.directory) / name).write_bytes(b"x")
    rename = os.rename

    def late(source: str, target: str) -> None:
        if source.endswith("a"):
            os.unlink(source)
        rename(source, target)

    monkeypatch.setattr(os, "rename", late)
    aside = place.store.set_aside(-60, [])
    assert len(aside) == 1
    assert place.store.remove(aside) > 0
    assert os.listdir(place.store.directory) == []
