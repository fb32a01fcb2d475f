"""The image store when much goes on at once: who waits for a client or a registry does not keep others waiting."""

import asyncio
import os
import threading

import pytest
from support.fakeregistry import FakeRegistry, Handler, trickle
from support.ociarchive import ImageFiles, layout, member, tar
from unit.plugins.images.test_pull import (
    AMD64,
    BASE,
    BLOBS,
    NOISE,
    Shop,
    image,
    layer_digest,
    registry,
    shop,
    under_way,
)

from container.errors import ContainerError
from container.model.event import ImageEvent

__all__ = ["registry", "shop"]  # fixtures
MANY = 140  # more than the threads that may wait


async def test_loads_that_wait_for_their_clients_keep_nobody_waiting(shop: Shop, registry: FakeRegistry) -> None:
    reference = registry.add("app", "1", ImageFiles([tar(member("a", b"1"))]))
    reader, writer = os.pipe()
    loads = [asyncio.create_task(shop.service.load(reader, False, lambda _: None)) for _ in range(MANY)]
    try:
        async with asyncio.timeout(60):
            assert await shop.names() == []
            await shop.service.prune(every=True)
            await shop.pull(reference)
    finally:
        for load in loads:
            load.cancel()
        await asyncio.gather(*loads, return_exceptions=True)
        os.close(reader)
        os.close(writer)


async def test_builds_that_wait_for_their_downloads_leave_these_the_means(shop: Shop, registry: FakeRegistry) -> None:
    go_on = threading.Event()
    layers = [tar(member(f"{number}", os.urandom(5000))) for number in range(MANY)]
    for layer in layers:
        registry.fail(BLOBS + layer_digest(layer), trickle(go_on, 10))
    references = [registry.add("app", f"{number}", ImageFiles([layer])) for number, layer in enumerate(layers)]
    pulls = [asyncio.create_task(shop.pull(reference, AMD64)) for reference in references]
    async with asyncio.timeout(100):
        while registry.count(BLOBS) < 2 * MANY:  # config and layer of each
            await asyncio.sleep(0.05)
        go_on.set()
        await asyncio.gather(*pulls)
    assert len(await shop.names()) == MANY


async def test_what_another_cannot_fetch_is_made_from_what_is_here(shop: Shop, registry: FakeRegistry) -> None:
    app, go_on = image(), threading.Event()

    def gone(handler: Handler) -> bool:
        go_on.wait(60)
        handler.reply(404)
        return True

    registry.fail(BLOBS + layer_digest(BASE), gone, times=10)
    pull = await under_way(shop, registry.add("app", "1", app))
    archive = shop.root / "app.tar"
    archive.write_bytes(layout(("loaded", app)))
    joined = asyncio.Event()

    def see(event: ImageEvent) -> None:
        if event.progress is not None and event.progress.step == 2:
            joined.set()

    with archive.open("rb") as file:
        load = asyncio.create_task(shop.service.load(file.fileno(), False, see))
        await joined.wait()
        go_on.set()
        with pytest.raises(ContainerError, match="404"):
            await pull
        await load
    assert await shop.content("loaded", "bin/sh") == NOISE


async def test_a_layer_that_waits_for_its_turn_says_so(shop: Shop, registry: FakeRegistry) -> None:
    registry.pace = 0.02
    layers = [tar(member(f"{number}", os.urandom(3 << 20))) for number in range(2)]
    events = await shop.pull(registry.add("app", "1", ImageFiles(layers)), concurrent=1)
    parts = [part for event in events if event.progress for part in event.progress.parts or []]
    assert {part.state for part in parts if not part.bytes} == {"waiting"}
    assert {part.state for part in parts if 0 < part.bytes < part.total_bytes} == {"downloading"}
