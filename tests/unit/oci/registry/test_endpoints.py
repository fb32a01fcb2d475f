"""Which host, which scheme, which mirrors."""

import pytest

from container.errors import ContainerError
from container.oci.registry.endpoints import Endpoint, HostSettings, Settings, api_host, endpoint, endpoints


@pytest.mark.parametrize(
    ("domain", "scheme"),
    [
        ("localhost", "http"),
        ("localhost:5000", "http"),
        ("127.0.0.1:5000", "http"),
        ("127.8.9.1", "http"),
        ("10.1.2.3:443", "http"),
        ("172.16.0.1", "http"),
        ("172.31.255.255:1", "http"),
        ("172.32.0.1", "https"),
        ("192.168.7.7:5000", "http"),
        ("192.169.0.1", "https"),
        ("[::1]:5000", "http"),
        ("[2001:db8::1]:5000", "https"),
        ("registry.test:5000", "http"),
        ("test", "https"),
        ("registry.test.example", "https"),
        ("ghcr.io", "https"),
        ("localhost.example", "https"),
    ],
)
def test_auto_means_http_for_what_is_near(domain: str, scheme: str) -> None:
    settings = Settings(dns_domain="test")
    assert endpoint(domain, "auto", settings).scheme == scheme
    assert endpoint(domain, "https", settings).scheme == "https"
    assert endpoint(domain, "http", settings).scheme == "http"


def test_a_scheme_that_is_none() -> None:
    with pytest.raises(ContainerError, match="unsupported scheme ftp"):
        endpoint("ghcr.io", "ftp", Settings())


@pytest.mark.parametrize(
    "domain", ["docker.io", "index.docker.io", "https://index.docker.io/v1/", "registry-1.docker.io"]
)
def test_the_hub_is_served_elsewhere(domain: str) -> None:
    assert api_host(domain) == "registry-1.docker.io"


def test_mirrors_come_first() -> None:
    settings = Settings({"docker.io": HostSettings(["https://mirror.example/hub/v2/", "10.0.0.5:5000"])})
    found = endpoints("docker.io", "auto", settings)
    assert [item.url("a/blobs/x") for item in found] == [
        "https://mirror.example/hub/v2/a/blobs/x",
        "http://10.0.0.5:5000/v2/a/blobs/x",
        "https://registry-1.docker.io/v2/a/blobs/x",
    ]
    assert found[-1] == Endpoint("https", "registry-1.docker.io")
