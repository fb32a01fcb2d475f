"""Platforms: aliases and variants as the contract says."""

import pytest

from container.errors import ContainerError
from container.model import platform


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("linux/amd64", ("linux", "amd64", None)),
        ("linux/x86_64", ("linux", "amd64", None)),
        ("Linux/X86-64/v1", ("linux", "amd64", None)),
        ("linux/amd64/v2", ("linux", "amd64", "v2")),
        ("linux/aarch64", ("linux", "arm64", None)),
        ("linux/arm64/8", ("linux", "arm64", None)),
        ("linux/arm", ("linux", "arm", "v7")),
        ("linux/arm/6", ("linux", "arm", "v6")),
        ("linux/armhf", ("linux", "arm", "v7")),
        ("linux/armel", ("linux", "arm", "v6")),
        ("linux/riscv64", ("linux", "riscv64", None)),
    ],
)
def test_platforms_are_normalised(text: str, parts: platform.Triple) -> None:
    assert platform.parse(text) == parts
    assert platform.parse(platform.display(*parts)) == parts


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "missing OS in "),
        ("/amd64", "missing OS in /amd64"),
        ("plan9/amd64", "unknown OS in plan9/amd64"),
        ("linux", "missing architecture in linux"),
        ("linux/", "missing architecture in linux/"),
        ("linux/arm/v9", "invalid variant v9"),
        ("linux/arm64/x", "invalid variant x"),
    ],
)
def test_a_bad_platform_is_refused_with_the_contracts_text(text: str, message: str) -> None:
    with pytest.raises(ContainerError) as raised:
        platform.parse(text)
    assert message in raised.value.message
