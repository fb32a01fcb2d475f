"""A disk that is really full amid a pull or a load: a clear error, nothing half-made, and all works again."""

import base64
import contextlib
import os
import random
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import registry
from support import shop as shops
from support.ociarchive import ImageFiles, layout, member, tar
from support.system import System

pytestmark = pytest.mark.skipif(
    os.getuid() != 0 or not all(map(shutil.which, [registry.PROGRAM, "skopeo"])),
    reason="needs root, docker-registry and skopeo",
)
NOISE = random.Random(1)


@pytest.fixture(scope="module")
def shop() -> Iterator[System]:
    """A system without a kernel whose app root is small."""
    with shops.opened(room="64m") as system:
        yield system


@pytest.fixture(scope="module")
def archive() -> Iterator[Path]:
    """An image that takes 9 MB as blobs and 10 MB unpacked."""
    layers = [tar(*(member(f"{layer}/{n}", NOISE.randbytes(200_000)) for n in range(10))) for layer in range(3)]
    layers.append(tar(member("text", base64.b64encode(NOISE.randbytes(3 << 20)))))
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "big.tar")
        path.write_bytes(layout(("big:1", ImageFiles(layers))))
        yield path


def files(shop: System, *but: str) -> set[Path]:
    """The files of the image store but those of some directories and its own three."""
    images = shop.base / "app/images"
    found = {path.relative_to(images) for path in images.rglob("*") if path.is_file()}
    return {path for path in found if path.parts[0] not in (*but, "index.json", "oci-layout", ".lock")}


@pytest.mark.parametrize("room", ["3m", "8m", "14m", "18m"])  # amid the blobs, or the unpacking
def test_it_is_told_leaves_nothing_half_made_and_works_with_more_room(
    shop: System, archive: Path, tmp_path: Path, room: str
) -> None:
    with registry.running(tmp_path) as source:
        pulled = source.push(f"oci-archive:{archive}", "big:1")
        for verb, name in (["pull", pulled], pulled), (["load", "-i", str(archive)], "big:1"):
            shops.resize(shop, room)
            failed = shop.run("image", *verb, check=False)
            assert failed.returncode == 1
            assert "No space left on device" in failed.stderr
            what = "store blob sha256:|make the squashfs of layer sha256:|write /"
            assert re.search(f"^Error: .*cannot ({what})", failed.stderr, re.MULTILINE)
            assert files(shop, "partial") == set()
            assert shop.output("image", "list", "-q") == ""
            shops.resize(shop, "64m")
            shop.run("image", *verb)
            assert files(shop, "blobs", "layers", "disks") == set()
            shop.run("image", "save", "-o", str(tmp_path / "saved.tar"), name)
            shop.run("image", "delete", name)
            assert files(shop) == set()


def test_an_image_can_be_deleted_when_no_byte_is_free(shop: System, archive: Path) -> None:
    shops.resize(shop, "64m")
    shop.run("image", "load", "-i", str(archive))
    filler = shop.base / "app/filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    refused = shop.run("image", "tag", "big:1", "another", check=False)
    assert "No space left on device" in refused.stderr
    assert shop.output("image", "list", "-q") == "big:1"
    assert shop.run("image", "delete", "big:1").stderr == "Reclaimed 19.6 MB in disk space\n"
    filler.unlink()
    assert files(shop) == set()
