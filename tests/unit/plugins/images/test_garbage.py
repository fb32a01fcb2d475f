"""What goes when nothing refers to it any more, and what stays when that cannot be told."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.ociarchive import ImageFiles, layout, member, tar
from unit.plugins.images.test_service import IMAGE, TOP, Shop, shop_at

from container.errors import ContainerError, ErrorCode
from container.paths import Roots
from container.plugins.images import usage
from container.plugins.images.usage import Use


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with shop_at(tmp_path) as found:
        yield found


async def test_a_document_that_cannot_be_read_keeps_everything(shop: Shop) -> None:
    await shop.load(layout(("kept", IMAGE), ("other", ImageFiles([TOP]))))
    (variant,) = (await shop.service.get("kept")).variants
    path = shop.root / "app/images/blobs/sha256" / variant.digest[7:]
    manifest = path.read_bytes()
    path.unlink()
    path.mkdir()  # as unreadable to root as to anybody
    before = shop.files()
    with pytest.raises(ContainerError, match=r"cannot read .*: Is a directory") as raised:
        await shop.service.delete(["other"], every=False, force=False)
    assert raised.value.code is ErrorCode.INTERNAL
    assert shop.files() == before
    path.rmdir()
    path.write_bytes(manifest)
    await shop.service.prune(every=False)
    assert shop.files() < before | {f"blobs/sha256/{variant.digest[7:]}"}
    assert (await shop.rootfs("kept")).layers


async def test_a_caller_that_leaves_while_garbage_is_collected_leaves_none(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.load(layout(("app", IMAGE)))
    asked, answer = asyncio.Event(), asyncio.Event()

    async def slow(_: Roots) -> list[Use]:
        asked.set()
        await answer.wait()
        return []

    monkeypatch.setattr(usage, "containers", slow)
    move = asyncio.create_task(shop.load(layout(("app", ImageFiles([tar(member("new"))])))))
    await asked.wait()
    move.cancel()
    await asyncio.sleep(0)
    answer.set()
    await asyncio.gather(move, return_exceptions=True)
    assert sum(name.endswith(".squashfs") for name in shop.files()) == 1


async def test_what_is_deleted_while_it_is_saved_goes_after_that(shop: Shop) -> None:
    await shop.load(layout(("app", ImageFiles([tar(member("big", os.urandom(1 << 20)))]))))
    before = shop.files()
    reader, writer = os.pipe()
    begun = asyncio.Event()
    save = asyncio.create_task(shop.service.save(writer, ["app"], None, lambda _: begun.set()))
    try:
        await begun.wait()
        result = await shop.service.delete(["app"], every=False, force=False)
        assert (result.reclaimed, shop.files()) == (0, before)
        with open(reader, "rb", closefd=False) as pipe:
            copied = asyncio.create_task(asyncio.to_thread(pipe.read, 1 << 20))
            await copied
            save.cancel()
            await asyncio.gather(save, return_exceptions=True)
    finally:
        os.close(reader)
        os.close(writer)
    assert shop.files() == set()
