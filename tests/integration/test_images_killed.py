"""The image service killed at any moment of its work: the store is never wrong, and a new service repairs the rest."""

import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import registry
from support import shop as shops
from support.ociarchive import ImageFiles, digest, layout, member, tar
from support.registry import Registry
from support.system import System, settle

from container import paths
from container.ipc import quick

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, [registry.PROGRAM, "skopeo"])), reason="needs docker-registry and skopeo"
)
ROUNDS = 15


@pytest.fixture(scope="module")
def shop() -> Iterator[System]:
    """A system without a kernel."""
    with shops.opened() as system:
        yield system


@pytest.fixture(scope="module")
def plain() -> Iterator[Registry]:
    """A registry without logins and TLS."""
    with tempfile.TemporaryDirectory() as base, registry.running(Path(base)) as started:
        yield started


def layers(count: int, salt: str) -> list[bytes]:
    """Layers of a few megabytes that do not compress."""
    generator = random.Random(salt)
    return [tar(*(member(f"{layer}/{n}", generator.randbytes(200_000)) for n in range(12))) for layer in range(count)]


def kill(shop: System) -> None:
    """Kill the image service, if it runs at this moment, and have it started again without the usual delay."""
    pid = shop.services().get("images")
    if pid is None:
        return
    os.kill(pid, signal.SIGKILL)

    def start() -> int | None:
        quick.call(str(shop.base / "run" / paths.SUPERVISOR), "io.container.Supervisor.Start", {"label": paths.IMAGES})
        return shop.services().get("images")

    settle(start, lambda now: now not in (None, pid), timeout=60)


def check(shop: System) -> None:
    """Every image is complete, and nothing in the store is damaged."""
    settle(lambda: shop.run("image", "list", check=False).returncode, lambda code: code == 0, timeout=60)
    store = shop.base / "app/images"
    for name in shop.output("image", "list", "-q").split():
        (image,) = json.loads(shop.output("image", "inspect", name))
        assert len(image["variants"]) == 1, f"{name} is incomplete"
        shop.run("image", "save", "-o", str(shop.base / "saved.tar"), name)
        subprocess.run(["skopeo", "inspect", f"oci-archive:{shop.base / 'saved.tar'}"], check=True, capture_output=True)
    for blob in (store / "blobs/sha256").iterdir():
        assert digest(blob.read_bytes()) == f"sha256:{blob.name}"
    for squashfs in (store / "layers").glob("*.squashfs"):
        subprocess.run(["unsquashfs", "-s", squashfs], check=True, capture_output=True)
    assert not list((store / "ingest").iterdir())
    assert not list(store.glob("**/.*.tmp"))


def test_a_kill_at_any_moment_never_corrupts_the_store(shop: System, plain: Registry, tmp_path: Path) -> None:
    loaded, pulled = layers(3, "loaded"), layers(2, "pulled")
    (tmp_path / "loaded.tar").write_bytes(layout(("loaded", ImageFiles(loaded))))
    (tmp_path / "pulled.tar").write_bytes(layout(("pulled", ImageFiles([loaded[0], *pulled]))))
    (tmp_path / "kept.tar").write_bytes(layout(("kept", ImageFiles([tar(member("kept", b"x")), loaded[1]]))))
    name = plain.push(f"oci-archive:{tmp_path / 'pulled.tar'}", "pulled:1")
    load, pull = ["image", "load", "-i", str(tmp_path / "loaded.tar")], ["image", "pull", name]
    shop.run("image", "load", "-i", str(tmp_path / "kept.tar"))
    verbs = [load, pull, ["image", "delete", "loaded", name], load, pull]
    for number in range(ROUNDS):
        verb = verbs[number % len(verbs)]
        process = shop.popen(*verb, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        time.sleep(random.uniform(0.03, 0.35))
        kill(shop)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0 or said.rpartition("Error: ")[2], f"{verb} said nothing"
        check(shop)
        assert "kept" in " ".join(shop.output("image", "list", "-q").split())
    shop.run(*load)
    shop.run(*pull)
    check(shop)


def test_a_kill_in_a_prune_leaves_whole_images_or_none(shop: System, plain: Registry, tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / "a.tar").write_bytes(layout(*((f"a{n}", ImageFiles(layers(1, f"{number}{n}"))) for n in range(4))))
        shop.run("image", "load", "-i", str(tmp_path / "a.tar"))
        process = shop.popen("image", "prune", "-a", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(random.uniform(0.0, 0.12))
        kill(shop)
        process.wait(60)
        check(shop)
    shop.run("image", "prune", "-a")
    store = shop.base / "app/images"
    assert [path for name in ("blobs", "layers", "disks") for path in (store / name).rglob("*") if path.is_file()] == []


def test_what_became_unusable_is_removed_at_start_and_made_again(shop: System, tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(layout(("a", ImageFiles(layers(2, "damage")))))
    shop.run("image", "load", "-i", str(tmp_path / "a.tar"))
    store = shop.base / "app/images"
    first, second = sorted((store / "layers").glob("*.squashfs"))
    os.truncate(first, 1000)
    second.write_bytes(b"rubbish" * 1000)
    biggest = max((store / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    os.truncate(biggest, 100)
    kill(shop)
    settle(lambda: shop.run("image", "list", check=False).returncode, lambda code: code == 0, timeout=60)
    assert json.loads(shop.output("image", "inspect", "a"))[0]["variants"] == []
    assert not list((store / "layers").glob("*.squashfs"))
    assert not list((store / "disks").iterdir())
    log = "".join(path.read_text() for path in (shop.base / "app/logs").glob("*images*"))
    assert f"blob sha256:{biggest.name}: it has 100 bytes" in log
    shop.run("image", "load", "-i", str(tmp_path / "a.tar"))
    assert len(list((store / "layers").glob("*.squashfs"))) == 2
    check(shop)
