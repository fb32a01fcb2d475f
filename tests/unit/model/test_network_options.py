"""What `network create --option` takes, and which networks cannot be on a machine."""

import pytest

from container.errors import ContainerError, ErrorCode
from container.model.network_options import (
    Means,
    NetworkOptions,
    UplinkKind,
    check_network_options,
    choose_uplink,
    parse_network_options,
)

EVERYTHING = {"slirp4netns", "pasta", "ip"}


def _means(*, root: bool, without: str = "", programs: set[str] = EVERYTHING) -> Means:
    return Means(root, (programs - {without}).__contains__)


def test_options_have_defaults_and_are_read() -> None:
    assert parse_network_options({}) == NetworkOptions(UplinkKind.AUTO, False)
    read = parse_network_options({"uplink": "none", "host-loopback": "true"})
    assert read == NetworkOptions(UplinkKind.NONE, True)


@pytest.mark.parametrize("options", [{"uplink": "tor"}, {"uplink": ""}, {"host-loopback": "maybe"}, {"mtu": "9000"}])
def test_unknown_options_are_refused(options: dict[str, str]) -> None:
    with pytest.raises(ContainerError) as caught:
        parse_network_options(options)
    assert caught.value.code is ErrorCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("root", "programs", "kind"),
    [
        (True, EVERYTHING, UplinkKind.SLIRP),
        (True, {"pasta"}, UplinkKind.SLIRP),
        (False, EVERYTHING, UplinkKind.SLIRP),
        (False, {"pasta"}, UplinkKind.PASTA),
        (False, set(), UplinkKind.SLIRP),
    ],
)
def test_auto_is_slirp4netns_unless_only_pasta_is_there(root: bool, programs: set[str], kind: UplinkKind) -> None:
    assert choose_uplink(_means(root=root, programs=programs)) is kind


@pytest.mark.parametrize("root", [True, False])
@pytest.mark.parametrize("kind", list(UplinkKind))
def test_every_way_out_is_for_who_can_have_it(kind: UplinkKind, root: bool) -> None:
    other = {UplinkKind.PASTA: True, UplinkKind.VETH: False}.get(kind)
    if root is other:
        with pytest.raises(ContainerError, match="root") as caught:
            check_network_options(NetworkOptions(kind), internal=False, means=_means(root=root))
        assert caught.value.code is ErrorCode.UNSUPPORTED
    else:
        check_network_options(NetworkOptions(kind), internal=False, means=_means(root=root))


@pytest.mark.parametrize(
    ("kind", "root", "program", "package"),
    [
        (UplinkKind.SLIRP, True, "slirp4netns", "slirp4netns"),
        (UplinkKind.AUTO, True, "slirp4netns", "slirp4netns"),
        (UplinkKind.PASTA, False, "pasta", "passt"),
        (UplinkKind.VETH, True, "ip", "iproute2"),
    ],
)
def test_a_program_that_is_not_installed_is_named_with_its_package(
    kind: UplinkKind, root: bool, program: str, package: str
) -> None:
    means = _means(root=root, without=program)
    with pytest.raises(ContainerError, match=f"{program} is not installed; install the package {package}") as caught:
        check_network_options(NetworkOptions(kind), internal=False, means=means)
    assert caught.value.code is ErrorCode.UNSUPPORTED
    check_network_options(NetworkOptions(), internal=True, means=means)


@pytest.mark.parametrize("internal", [True, False])
@pytest.mark.parametrize("options", [NetworkOptions(UplinkKind.SLIRP), NetworkOptions(UplinkKind.NONE, True)])
def test_options_that_contradict_each_other(options: NetworkOptions, internal: bool) -> None:
    if options.host_loopback or internal:
        with pytest.raises(ContainerError) as caught:
            check_network_options(options, internal=internal, means=_means(root=True))
        assert caught.value.code is ErrorCode.INVALID_ARGUMENT
    else:
        check_network_options(options, internal=internal, means=_means(root=True))
