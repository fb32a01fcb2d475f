"""Model values to contract JSON and back."""

import pytest

from container.errors import ContainerError, ErrorCode
from container.model import codec
from container.model.container import ContainerRequest, DNSConfiguration
from container.model.image import ImageVariant, Platform
from container.model.mount import Mount
from container.model.network import Attachment
from container.model.process import ProcessRequest


@pytest.mark.parametrize("dns", [None, DNSConfiguration(), DNSConfiguration(nameservers=["10.0.0.1"])])
def test_none_survives_where_it_is_not_the_default(dns: DNSConfiguration | None) -> None:
    request = ContainerRequest("busybox", ProcessRequest(), dns=dns, mounts=[Mount("tmpfs", "tmpfs", "/tmp")])
    assert codec.decode(ContainerRequest, codec.encode(request)) == request


def test_none_is_left_out_where_it_is_the_default() -> None:
    attachment = Attachment("default", "web", "192.168.64.2/24", "192.168.64.1")
    assert set(codec.encode(attachment)) == {"network", "hostname", "ipv4Address", "ipv4Gateway"}


def test_what_an_image_leaves_null_is_left_out_at_any_depth() -> None:
    config = {"author": None, "config": {"Cmd": None, "Env": []}, "history": [{"created": None, "empty_layer": True}]}
    variant = ImageVariant(Platform("linux", "amd64"), "sha256:00", 1, config)
    assert codec.encode(variant)["config"] == {"config": {"Env": []}, "history": [{"empty_layer": True}]}


@pytest.mark.parametrize("mount", [{}, {"type": {}}, {"type": 3}, [], {"type": {"tmpfs": {}}}])
def test_a_malformed_value_is_an_invalid_argument_that_names_its_place(mount: object) -> None:
    data = {"image": "x", "process": {}, "mounts": [mount]}
    with pytest.raises(ContainerError, match=r"ContainerRequest\.mounts\[0\]") as caught:
        codec.decode(ContainerRequest, data)
    assert caught.value.code is ErrorCode.INVALID_ARGUMENT
