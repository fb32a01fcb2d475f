"""References: parsed, normalised and shortened as the contract says."""

import pytest

from container.errors import ContainerError
from container.model import reference

HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("typed", "full"),
    [
        ("alpine", "docker.io/library/alpine:latest"),
        ("alpine:3.22", "docker.io/library/alpine:3.22"),
        ("docker.io/alpine", "docker.io/library/alpine:latest"),
        ("registry-1.docker.io/alpine", "registry-1.docker.io/library/alpine:latest"),
        ("me/app", "docker.io/me/app:latest"),
        ("localhost/app", "localhost/app:latest"),
        ("localhost:5000/app:1", "localhost:5000/app:1"),
        ("ghcr.io/a/b/c", "ghcr.io/a/b/c:latest"),
        ("[::1]:5000/app", "[::1]:5000/app:latest"),
        (f"alpine@sha256:{HEX}", f"docker.io/library/alpine@sha256:{HEX}"),
        (f"alpine:3@sha256:{HEX}", f"docker.io/library/alpine@sha256:{HEX}"),
    ],
)
def test_a_typed_reference_gets_its_defaults(typed: str, full: str) -> None:
    assert reference.normalise(typed) == full
    assert reference.normalise(full) == full


def test_the_configured_domain_replaces_the_default() -> None:
    assert reference.normalise("app", "ghcr.io") == "ghcr.io/app:latest"
    assert reference.denormalise("ghcr.io/app:latest", "ghcr.io") == "app:latest"
    assert reference.denormalise("docker.io/library/alpine:1", "ghcr.io") == "docker.io/library/alpine:1"


@pytest.mark.parametrize(
    ("full", "name", "tag"),
    [
        ("docker.io/library/alpine:3.22", "alpine", "3.22"),
        ("docker.io/me/app:1", "me/app", "1"),
        ("ghcr.io/a/b:1", "ghcr.io/a/b", "1"),
        (f"untagged@sha256:{HEX}", "untagged", None),
    ],
)
def test_a_full_reference_is_shown_short(full: str, name: str, tag: str | None) -> None:
    assert reference.name_and_tag(full) == (name, tag)


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (HEX, "cannot specify 64 byte hex string as reference"),
        ("UPPER", "cannot parse path for reference UPPER"),
        ("a//b", "cannot parse path for reference a//b"),
        ("", "invalid format for image reference: "),
        ("a:", "invalid format for image reference: a:"),
        ("a:b c", "invalid format for image reference: a:b c"),
        ("a@sha256:12", "invalid format for image reference: a@sha256:12"),
        ("-.io/a", "invalid format for image reference: -.io/a"),
        ("a" * 385, "invalid format for image reference: " + "a" * 385),
        ("a" * 256, "invalid format for image reference: " + "a" * 256),
    ],
)
def test_a_bad_reference_is_refused_with_the_contracts_text(typed: str, message: str) -> None:
    with pytest.raises(ContainerError) as raised:
        reference.parse(typed)
    assert message in raised.value.message


def test_a_long_bad_path_is_refused_at_once() -> None:
    with pytest.raises(ContainerError):
        reference.parse("a-" * 127 + "!")
