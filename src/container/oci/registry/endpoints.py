"""Where a registry is: which host serves a domain, over which scheme, through which mirrors (contract 1.10, 4.1)."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field

from container.errors import invalid_argument

HUB = "registry-1.docker.io"
SCHEMES = ("auto", "http", "https")
_HUB_NAMES = ("docker.io", "index.docker.io", "registry.hub.docker.com", HUB)
_PLAIN = [ipaddress.ip_network(text) for text in ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")]


@dataclass(frozen=True)
class Endpoint:
    """One way to a registry's API; `host` with its port, if it has one."""

    scheme: str
    host: str
    prefix: str = ""  # a mirror's path before `/v2/`
    mirror: bool = False

    @property
    def origin(self) -> str:
        """`scheme://host`."""
        return f"{self.scheme}://{self.host}"

    def url(self, path: str) -> str:
        """The URL of a path below `/v2/`."""
        return f"{self.origin}{self.prefix}/v2/{path}"


@dataclass(frozen=True)
class HostSettings:
    """What the configuration says of one host."""

    mirrors: list[str] = field(default_factory=list)
    ca: str | None = None  # path of a PEM file
    insecure: bool = False  # do not verify the certificate


@dataclass(frozen=True)
class Settings:
    """What the configuration says of registries; `hosts` by host with its port, `domain` of container names."""

    hosts: Mapping[str, HostSettings] = field(default_factory=dict)
    dns_domain: str | None = None

    def of(self, host: str) -> HostSettings:
        """The settings of one host; docker's hub has several names."""
        for name in _HUB_NAMES if host == HUB else (host,):
            if name in self.hosts:
                return self.hosts[name]
        return HostSettings()


def api_host(domain: str) -> str:
    """The host that serves the domain of a reference; logins are kept under it, too."""
    host = domain.partition("://")[2] or domain
    host = host.partition("/")[0]
    return HUB if host in _HUB_NAMES else host


def endpoint(domain: str, scheme: str, settings: Settings) -> Endpoint:
    """The registry itself. Raises ContainerError(invalidArgument) for a scheme that is none."""
    host = api_host(domain)
    return Endpoint(_resolved(scheme, host, settings), host)


def endpoints(domain: str, scheme: str, settings: Settings) -> list[Endpoint]:
    """The mirrors, then the registry itself."""
    own = endpoint(domain, scheme, settings)
    return [*(_mirror(text, settings) for text in settings.of(own.host).mirrors), own]


def _mirror(text: str, settings: Settings) -> Endpoint:
    scheme, separator, rest = text.partition("://")
    host, _, path = (rest if separator else text).partition("/")
    prefix = "/" + path.strip("/").removesuffix("v2").strip("/")
    return Endpoint(
        _resolved(scheme if separator else "auto", host, settings), host, prefix if prefix != "/" else "", mirror=True
    )


def _resolved(scheme: str, host: str, settings: Settings) -> str:
    if scheme not in SCHEMES:
        raise invalid_argument(f"unsupported scheme {scheme}; expected auto, http or https")
    if scheme != "auto":
        return scheme
    return "http" if _is_internal(_without_port(host), settings.dns_domain) else "https"


def _is_internal(name: str, domain: str | None) -> bool:
    if name == "localhost" or (domain and name.endswith(f".{domain.strip('.')}")):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return address.is_loopback or any(address in network for network in _PLAIN)


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
