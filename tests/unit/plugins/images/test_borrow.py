"""Layers that rely on what is below them, by pull and by load, on one base and another.

They have hard links to files of lower layers, which they take up, or members below symbolic links of lower layers.
"""

import os
import re
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from support.fakeregistry import FakeRegistry, cut
from support.ociarchive import ImageFiles, directory, layout, link, member, tar
from unit.plugins.images.test_pull import AMD64, NOISE, Shop, registry, shop

from container.errors import ContainerError

__all__ = ["registry", "shop"]  # fixtures
TOP = tar(member("other", b"o"), link("new", "bin/old", tarfile.LNKTYPE))


def base(content: bytes, **attributes: Any) -> bytes:
    return tar(member("bin/old", content, **attributes), link("bin/too", "bin/old", tarfile.LNKTYPE))


async def listing(shop: Shop, reference: str) -> dict[str, str]:
    """Mode and owner by path, of the top layer."""
    command = ["unsquashfs", "-lln", "-d", "", await top(shop, reference)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in output.splitlines() if re.match(r"[-d]r", line)]
    return {row[5]: f"{row[0]} {row[1]}" for row in rows if len(row) == 6}


async def content(shop: Shop, reference: str, path: str) -> bytes:
    """A file of the top layer."""
    command = ["unsquashfs", "-cat", await top(shop, reference), path]
    return subprocess.run(command, capture_output=True, check=True).stdout


async def top(shop: Shop, reference: str) -> str:
    event = await shop.service.prepare(reference, AMD64, lambda _: None)
    assert event.rootfs is not None
    disk = Path(event.rootfs.disk)
    return str(disk.parent / re.findall(r'FLAT "(.*\.squashfs)"', disk.read_text())[-1])


async def load(shop: Shop, name: str, layers: list[bytes]) -> None:
    path = shop.root / "archive.tar"
    path.write_bytes(layout((name, ImageFiles(layers))))
    with path.open("rb") as file:
        await shop.service.load(file.fileno(), False, lambda _: None)


async def test_a_file_is_taken_up_with_all_its_names(shop: Shop, registry: FakeRegistry) -> None:
    layers = [base(NOISE, mode=0o4755, uid=5), tar(member("bin/.wh.too")), TOP]
    registry.fail("GET .*/blobs/", cut(200_000))
    reference = registry.add("app", "1", ImageFiles(layers))
    await shop.pull(reference)
    assert await listing(shop, reference) == {
        "/bin": "drwxr-xr-x 0/0",
        "/bin/old": "-rwsr-xr-x 5/0",
        "/new": "-rwsr-xr-x 5/0",
        "/other": "-rw-r--r-- 0/0",
    }
    assert await content(shop, reference, "new") == NOISE


async def test_on_another_base_the_same_layer_has_other_contents(shop: Shop, registry: FakeRegistry) -> None:
    one = registry.add("one", "1", ImageFiles([base(b"one"), TOP]))
    two = registry.add("two", "1", ImageFiles([base(b"two", uid=9), TOP]))
    await shop.pull(one)
    await shop.pull(two)
    await load(shop, "three", [base(b"three"), TOP])
    for reference, expected in ((one, b"one"), (two, b"two"), ("three", b"three")):
        assert await content(shop, reference, "new") == await content(shop, reference, "bin/old") == expected
    assert (await listing(shop, two))["/bin/too"] == "-rw-r--r-- 9/0"


async def test_what_is_taken_up_can_be_linked_to_again(shop: Shop) -> None:
    await load(shop, "app", [base(b"x"), TOP, tar(), tar(link("newer", "new", tarfile.LNKTYPE))])
    assert set(await listing(shop, "app")) == {"/bin", "/bin/old", "/bin/too", "/new", "/newer"}


async def test_a_lost_record_of_names_is_made_again(shop: Shop) -> None:
    layers = [base(b"x"), TOP, tar()]
    await load(shop, "app", layers)
    await shop.service.prepare("app", AMD64, lambda _: None)
    for path in (shop.root / "app/images/layers").glob("*.names"):
        path.unlink()
    await load(shop, "more", [*layers[:2], tar(link("newer", "new", tarfile.LNKTYPE))])
    assert "/newer" in await listing(shop, "more")


@pytest.mark.parametrize(
    ("below", "expected"), [([link("lib", "usr/lib")], "/usr/lib/x"), ([directory("lib")], "/lib/x"), ([], "/lib/x")]
)
async def test_a_member_below_a_link_of_a_lower_layer_lands_where_that_leads(
    shop: Shop, registry: FakeRegistry, below: list[tuple[tarfile.TarInfo, bytes]], expected: str
) -> None:
    top = tar(member("lib/x", NOISE))
    registry.fail("GET .*/blobs/", cut(200_000))
    others = [[link("lib", "var")], []]
    for number, layer in enumerate([below, *others]):
        reference = registry.add("app", str(number), ImageFiles([tar(*layer), top]))
        await shop.pull(reference)
    assert expected in await listing(shop, registry.add("app", "0", ImageFiles([tar(*below), top])))
    assert "/var/x" in await listing(shop, registry.add("app", "1", ImageFiles([tar(*others[0]), top])))


async def test_links_of_lower_layers_in_a_loop_are_refused(shop: Shop) -> None:
    loop = tar(link("a", "b"), link("b", "a"))
    with pytest.raises(ContainerError, match="the directory a leads through too many symbolic links"):
        await load(shop, "app", [loop, tar(member("a/x"))])
    assert shop.files("layers") == []


@pytest.mark.parametrize("top", [TOP, tar(member("bin/x"))])
async def test_it_is_built_once(shop: Shop, registry: FakeRegistry, top: bytes) -> None:
    reference = registry.add("app", "1", ImageFiles([base(b"x"), top]))
    await shop.pull(reference)
    before = {path: os.stat(shop.root / "app/images/layers" / path).st_ino for path in shop.files("layers")}
    await shop.pull(reference)
    await shop.service.prepare(reference, AMD64, lambda _: None)
    assert {path: os.stat(shop.root / "app/images/layers" / path).st_ino for path in shop.files("layers")} == before


@pytest.mark.parametrize("below", [[], [tar(member("bin/other", b""))], [base(b"x"), tar(member("bin/.wh.old"))]])
async def test_a_link_to_what_no_layer_has_is_refused(shop: Shop, below: list[bytes]) -> None:
    with pytest.raises(ContainerError, match="new is a hard link to bin/old, which neither the layer nor those below"):
        await load(shop, "app", [*below, TOP])
    assert shop.files("layers") == []


@pytest.mark.parametrize(
    ("top", "message"),
    [
        ([member("bin/old/x")], "the layer has something in bin/old, which is a file in a layer below it"),
        (
            [member("n"), member("n"), member("bin/old/x/y")],
            "something in bin/old, which is a file in a layer below it",
        ),
        ([link("n", "bin/old", tarfile.LNKTYPE), member("n/x")], "the layer has both a file n and something in it"),
    ],
)
async def test_something_in_a_file_of_a_lower_layer_is_refused(shop: Shop, top: list[Any], message: str) -> None:
    with pytest.raises(ContainerError, match=message):
        await load(shop, "app", [base(b"x"), tar(*top)])
    assert shop.files("layers") == []


@pytest.mark.parametrize("top", [[member("bin/.wh.old")], [member("bin/.wh..wh..opq")], [directory("bin/old")]])
async def test_something_in_what_replaces_a_file_of_a_lower_layer_is_not(shop: Shop, top: list[Any]) -> None:
    await load(shop, "app", [base(b"x"), tar(*top, member("bin/old/x", b"y"))])
    assert await content(shop, "app", "bin/old/x") == b"y"
