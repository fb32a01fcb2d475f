"""Whatever a registry does, in whatever order: the right image in the end, or an error and no image."""

import asyncio
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.fakeregistry import Action, FakeRegistry, body, cut, hang, status
from unit.plugins.images.test_pull import HASTY, NOISE, image, shop_at

from container.errors import ContainerError

_counts = st.integers(0, 700_000)
_blob_faults = st.one_of(
    _counts.map(cut),
    _counts.map(hang),
    _counts.map(lambda count: body(lambda data: data[:count])),
    _counts.map(lambda at: body(lambda data: data[: at % len(data)] + b"?" + data[at % len(data) + 1 :])),
    st.just(body(lambda data: data + b"more")),
    st.just(body(lambda data: bytes(len(data)))),
    st.sampled_from([404, 429, 500, 503]).map(status),
)
_document_faults = st.sampled_from([status(500), status(503), status(429), status(404), status(200, b"{}")])
_faults = st.lists(
    st.one_of(
        st.tuples(st.just("GET .*/blobs/"), _blob_faults, st.integers(1, 3)),
        st.tuples(st.just("GET .*/manifests/"), _document_faults, st.just(1)),
    ),
    max_size=4,
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_faults, st.binary(max_size=300), st.booleans())
def test_no_wrong_image_results(faults: list[tuple[str, Action, int]], kept: bytes, ranges: bool) -> None:
    asyncio.run(_pull(faults, kept, ranges))


async def _pull(faults: list[tuple[str, Action, int]], kept: bytes, ranges: bool) -> None:
    with tempfile.TemporaryDirectory() as root, FakeRegistry(ranges=ranges) as registry:
        reference = registry.add("app", "1", image())
        for fault in faults:
            registry.fail(*fault)
        async with shop_at(Path(root), patience=HASTY) as shop:
            for name in registry.blobs["app"]:
                (Path(root) / "app/images/partial" / name[7:]).write_bytes(kept)
            try:
                await shop.pull(reference)
            except ContainerError:
                assert await shop.names() == []
                assert shop.files("layers") == []
        registry.faults.clear()
        async with shop_at(Path(root)) as shop:
            await shop.pull(reference)
            assert await shop.content(reference, "bin/sh") == NOISE
            assert await shop.content(reference, "etc/motd") == b"two"
