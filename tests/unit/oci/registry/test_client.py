"""The registry client against a registry of moods: authentication, redirects, retries, proxies."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fakeregistry import PASSWORD, USER, FakeRegistry, Handler, status
from support.ociarchive import ImageFiles, digest, member, tar

from container.errors import ContainerError, ErrorCode
from container.model.image import Descriptor
from container.model.reference import parse
from container.oci.registry import challenge
from container.oci.registry.challenge import Challenge
from container.oci.registry.client import RegistryClient
from container.oci.registry.credentials import Sources
from container.oci.registry.endpoints import Settings
from container.oci.registry.repository import Repository
from container.oci.registry.transport import Patience

QUICK = Patience(connect=30, attempts=3, first_delay=0.01, longest_delay=0.02)
IMAGE = ImageFiles([tar(member("data", b"1234" * 1000))])


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as found:
        found.add("app", "1", IMAGE)
        yield found


@asynccontextmanager
async def repository(registry: FakeRegistry, tmp_path: Path, *, login: bool = False) -> AsyncIterator[Repository]:
    environment = {}
    if login:
        environment = {
            "CONTAINER_REGISTRY_HOST": registry.host,
            "CONTAINER_REGISTRY_USER": USER,
            "CONTAINER_REGISTRY_TOKEN": PASSWORD,
        }
    async with RegistryClient(Sources(str(tmp_path / "none"), (), environment), Settings(), QUICK) as client:
        yield Repository(client, parse(f"{registry.host}/app:1"), "auto")


async def blob(found: Repository, name: str) -> bytes:
    async with found.blob(Descriptor("x", name, 1), 0) as body:
        return b"".join([chunk async for chunk in body.chunks])


def blob_name() -> str:
    return max(IMAGE.blobs, key=lambda name: len(IMAGE.blobs[name]))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('Basic realm="x"', [Challenge("basic", {"realm": "x"})]),
        ("Basic", [Challenge("basic")]),
        (
            'Bearer realm="https://a/t",service="s",scope="repository:a:pull,push"',
            [Challenge("bearer", {"realm": "https://a/t", "service": "s", "scope": "repository:a:pull,push"})],
        ),
        ('bEARER   realm = "a\\"b" , Scope=x', [Challenge("bearer", {"realm": 'a"b', "scope": "x"})]),
        (
            'Negotiate, Basic realm="r", charset="UTF-8"',
            [Challenge("negotiate"), Challenge("basic", {"realm": "r", "charset": "UTF-8"})],
        ),
        ("", []),
        (",,,", []),
        ('realm="x"', []),
    ],
)
def test_challenges(text: str, wanted: list[Challenge]) -> None:
    assert challenge.parse([text]) == wanted


@given(st.text(max_size=200))
def test_no_challenge_breaks_the_parser(text: str) -> None:
    challenge.parse([text, text])


async def test_one_token_serves_many_requests(registry: FakeRegistry, tmp_path: Path) -> None:
    registry.auth = "bearer"
    async with repository(registry, tmp_path, login=True) as found:
        for _ in range(3):
            await found.manifest("1")
        await blob(found, blob_name())
    assert registry.count("GET /token") == 1
    (asked,) = registry.requests("GET /token")
    assert "scope=repository%3Aapp%3Apull" in asked.path
    assert "service=fake" in asked.path


async def test_a_token_that_expires_is_replaced(registry: FakeRegistry, tmp_path: Path) -> None:
    registry.auth = "bearer"
    async with repository(registry, tmp_path) as found:
        await found.manifest("1")
        registry.tokens.clear()
        await found.manifest("1")
        registry.tokens.clear()
        await blob(found, blob_name())
    assert registry.count("GET /token") == 3


@pytest.mark.parametrize(
    "text",
    ["", "Negotiate", "Bearer", 'Bearer realm=""', "Digest realm=x, nonce=y", "Bearer service=x", 'Basic realm="x"'],
)
async def test_a_challenge_that_cannot_be_answered_is_an_error(
    registry: FakeRegistry, tmp_path: Path, text: str
) -> None:
    registry.auth, registry.challenge = "bearer", text
    async with repository(registry, tmp_path) as found:
        with pytest.raises(ContainerError) as caught:
            await found.manifest("1")
    assert caught.value.code is ErrorCode.UNAUTHENTICATED
    assert caught.value.message == (
        f"HTTP request to http://{registry.host}/v2/app/manifests/1 failed with response: 401 Unauthorized. "
        f"Reason: UNAUTHORIZED: authentication required, no credentials found for host {registry.host}; "
        f"`container registry login {registry.host}` stores some"
    )


@pytest.mark.parametrize("realm", ["ftp://a/t", "/token", "javascript:1", "http://"])
async def test_a_realm_that_is_no_url_is_an_error(registry: FakeRegistry, tmp_path: Path, realm: str) -> None:
    registry.auth, registry.challenge = "bearer", f'Bearer realm="{realm}"'
    async with repository(registry, tmp_path) as found:
        with pytest.raises(ContainerError, match="no URL"):
            await found.manifest("1")


@pytest.mark.parametrize("answer", [b"", b"[]", b"{}", b'{"token": 5}', b'{"token": "a\\nb"}', b"\xff"])
async def test_an_answer_without_a_token_is_an_error(registry: FakeRegistry, tmp_path: Path, answer: bytes) -> None:
    registry.auth = "bearer"
    registry.fail("GET /token", status(200, answer), times=9)
    async with repository(registry, tmp_path) as found:
        with pytest.raises(ContainerError, match="no token"):
            await found.manifest("1")


async def test_a_wrong_password_is_reported_with_the_tokens_url(registry: FakeRegistry, tmp_path: Path) -> None:
    registry.auth = "bearer"
    registry.fail("GET /token", status(401, b"no"), times=9)
    async with repository(registry, tmp_path, login=True) as found:
        with pytest.raises(ContainerError) as caught:
            await found.manifest("1")
    assert caught.value.message == (
        f"HTTP request to http://{registry.host}/token failed with response: 401 Unauthorized. Reason: no"
    )


async def test_the_second_of_two_challenges_may_do(registry: FakeRegistry, tmp_path: Path) -> None:
    registry.auth, registry.challenge = "basic", 'Negotiate, Basic realm="x"'
    async with repository(registry, tmp_path, login=True) as found:
        await found.manifest("1")
        registry.seen.clear()
        await found.manifest("1")
    assert registry.count("GET") == 1, "what worked is sent at once"


async def test_redirects_are_followed_without_credentials(registry: FakeRegistry, tmp_path: Path) -> None:
    registry.auth = "basic"
    with FakeRegistry() as storage:
        name = blob_name()
        storage.blobs["app"] = {name: b"elsewhere"}
        target = f"http://{storage.host}/v2/app/blobs/{name}?sig=a%2Fb"

        def redirect(handler: Handler) -> bool:
            if "Authorization" not in handler.headers:
                return False
            handler.reply(307, Location=target)
            return True

        registry.fail("GET .*/blobs/", redirect, times=9)
        async with repository(registry, tmp_path, login=True) as found:
            assert await blob(found, name) == b"elsewhere"
        (seen,) = storage.seen
        assert "Authorization" not in seen.headers
        assert seen.path.endswith("?sig=a%2Fb"), "a signed URL is not written anew"
        storage.fail("GET", status(403, b"expired"), times=9)
        async with repository(registry, tmp_path, login=True) as found:
            with pytest.raises(ContainerError) as caught:
                await blob(found, name)
    assert "sig" not in caught.value.message
    assert "403 Forbidden. Reason: expired" in caught.value.message


async def test_redirects_in_a_circle_end(registry: FakeRegistry, tmp_path: Path) -> None:
    registry.fail("GET .*/manifests/", status(302, Location="/v2/app/manifests/1"), times=99)
    async with repository(registry, tmp_path) as found:
        with pytest.raises(ContainerError, match="redirects too often"):
            await found.manifest("1")


async def test_a_redirect_to_another_scheme_is_not_followed(registry: FakeRegistry, tmp_path: Path) -> None:
    registry.fail("GET .*/manifests/", status(302, Location="file:///etc/passwd"), times=99)
    async with repository(registry, tmp_path) as found:
        with pytest.raises(ContainerError, match="file:///etc/passwd"):
            await found.manifest("1")


async def test_a_proxy_is_used_unless_told_otherwise(
    registry: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakeRegistry() as proxy:
        monkeypatch.setenv("http_proxy", f"http://{proxy.host}")
        proxy.fail("GET", status(404), times=9)
        async with repository(registry, tmp_path) as found:
            with pytest.raises(ContainerError, match="404"):
                await found.manifest("1")
            assert proxy.seen[0].path == f"http://{registry.host}/v2/app/manifests/1"
            monkeypatch.setenv("no_proxy", "127.0.0.0/8,127.0.0.1")
            await found.manifest("1")


@pytest.mark.parametrize("data", [b"", b"[1]", b"nothing", b"\xff\xfe", b"[" * 100_000])
async def test_a_manifest_that_is_none_is_refused(registry: FakeRegistry, tmp_path: Path, data: bytes) -> None:
    registry.manifests["app", "1"] = ("application/vnd.oci.image.manifest.v1+json", data)
    async with repository(registry, tmp_path) as found:
        with pytest.raises(ContainerError) as caught:
            await found.manifest("1")
    assert caught.value.code is ErrorCode.INVALID_ARGUMENT


async def test_a_huge_manifest_is_refused(registry: FakeRegistry, tmp_path: Path) -> None:
    registry.manifests["app", "1"] = ("application/vnd.oci.image.manifest.v1+json", bytes(9 << 20))
    async with repository(registry, tmp_path) as found:
        with pytest.raises(ContainerError, match="more than"):
            await found.manifest("1")


async def test_a_promised_digest_must_hold(registry: FakeRegistry, tmp_path: Path) -> None:
    data = registry.manifests["app", "1"][1]
    registry.fail("GET .*/manifests/", status(200, data, Docker_Content_Digest=digest(b"other")), times=9)
    async with repository(registry, tmp_path) as found:
        with pytest.raises(ContainerError, match="is corrupt"):
            await found.manifest("1")


async def test_a_manifest_without_a_content_type_is_known_by_its_fields(registry: FakeRegistry, tmp_path: Path) -> None:
    document = json.loads(registry.manifests["app", "1"][1])
    del document["mediaType"]
    registry.manifests["app", "1"] = ("application/json", json.dumps(document).encode())
    async with repository(registry, tmp_path) as found:
        descriptor, _ = await found.manifest("1")
    assert descriptor.media_type == "application/vnd.oci.image.manifest.v1+json"
