"""Credentials for registries, found where docker and podman keep theirs (config.json, containers-auth.json(5)).

Sources, the first that knows a host wins: the variables CONTAINER_REGISTRY_HOST, _USER and _TOKEN; our own file;
`$XDG_RUNTIME_DIR/containers/auth.json`; `$DOCKER_CONFIG/config.json` or `~/.docker/config.json`. In each file a host's
`credHelpers` win over `credsStore`, that over `auths`. Only our own file is ever written (`logins`).
"""

import base64
import binascii
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from container.errors import ContainerError, ErrorCode, internal
from container.log import fields
from container.oci.registry import helper
from container.oci.registry.endpoints import HUB, api_host
from container.store import atomic

HUB_KEY = "https://index.docker.io/v1/"  # what docker calls its hub
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Credential:
    """A name and its password, or an identity token, which is changed for access tokens (docker's oauth2)."""

    username: str
    password: str
    identity_token: str | None = None

    def basic(self) -> str:
        """The value of a Basic authorization header (RFC 7617)."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()

    def __repr__(self) -> str:
        return f"Credential({self.username!r}, …)"


@dataclass(frozen=True)
class Sources:
    """Where to look; `files` after our `own`."""

    own: str
    files: tuple[str, ...] = ()
    environment: Mapping[str, str] | None = None

    @classmethod
    def of_user(cls, own: str) -> "Sources":
        """What this process's user and environment imply."""
        env, found = os.environ, []
        if env.get("XDG_RUNTIME_DIR"):
            found.append(os.path.join(env["XDG_RUNTIME_DIR"], "containers", "auth.json"))
        docker = env.get("DOCKER_CONFIG") or os.path.join(os.path.expanduser("~"), ".docker")
        return cls(own, (*found, os.path.join(docker, "config.json")), env)


async def find(sources: Sources, host: str, repository: str = "") -> Credential | None:
    """The credential for a host, or for a repository there where a file says so.

    Raises ContainerError when our own file or a helper that it names fails; others are passed over, with a warning.
    """
    found = _from_environment(sources.environment or {}, host)
    for path in (sources.own, *sources.files):
        if found is not None:
            return found
        try:
            found = await _from_file(path, host, repository)
        except ContainerError as error:
            if path == sources.own:
                raise
            _log.warning("cannot use credentials", extra=fields(file=path, error=error.describe()))
    return found


def load(path: str) -> dict[str, Any]:
    """A config.json; empty when there is none. Raises ContainerError(internal) when it cannot be read."""
    try:
        data = atomic.read_json(path)
    except ContainerError as error:
        if error.code is ErrorCode.NOT_FOUND:
            return {}
        raise
    if not isinstance(data, dict):
        raise internal(f"cannot read {path}: not a JSON object")
    return data


def keys_of(host: str) -> tuple[str, ...]:
    """The names under which a host's credentials may be kept."""
    if host == HUB:
        return (HUB, HUB_KEY, "docker.io", "index.docker.io", "registry.hub.docker.com")
    return (host, f"https://{host}", f"http://{host}")


def helper_of(config: dict[str, Any], host: str) -> str | None:
    """The credential helper that a config.json names for a host."""
    helpers = config.get("credHelpers")
    if isinstance(helpers, dict):
        for key in keys_of(host):
            if helpers.get(key):
                return str(helpers[key])
    store = config.get("credsStore")
    return str(store) if store else None


def server_of(host: str) -> str:
    """What helpers call a host."""
    return HUB_KEY if host == HUB else host


def decode(entry: Any) -> Credential | None:
    """The credential in one entry of `auths`, if there is one."""
    if not isinstance(entry, dict):
        return None
    try:
        text = base64.b64decode(str(entry.get("auth") or ""), validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    username, _, password = text.rstrip("\0").partition(":")
    username, password = username or str(entry.get("username") or ""), password or str(entry.get("password") or "")
    token = entry.get("identitytoken")
    return Credential(username, password, str(token) if token else None) if username or token else None


def _from_environment(environment: Mapping[str, str], host: str) -> Credential | None:
    wanted, token = environment.get("CONTAINER_REGISTRY_HOST"), environment.get("CONTAINER_REGISTRY_TOKEN")
    if not wanted or token is None or api_host(wanted) != host:
        return None
    return Credential(environment.get("CONTAINER_REGISTRY_USER", ""), token)


async def _from_file(path: str, host: str, repository: str) -> Credential | None:
    config = load(path)
    program = helper_of(config, host)
    if program:
        pair = await helper.get(program, server_of(host))
        if pair is not None:
            username, secret = pair
            return Credential("", "", secret) if username == "<token>" else Credential(username, secret)
    auths = config.get("auths")
    if not isinstance(auths, dict):
        return None
    cleaned = {_cleaned(str(key)): value for key, value in auths.items()}
    for key in _candidates(host, repository):
        found = decode(auths.get(key)) or decode(cleaned.get(key))
        if found is not None:
            return found
    return None


def _candidates(host: str, repository: str) -> Iterator[str]:
    """Keys from the most to the least specific: podman keeps logins for parts of a registry, too."""
    parts = repository.split("/") if repository else []
    for length in range(len(parts), 0, -1):
        yield "/".join([host, *parts[:length]])
    yield from keys_of(host)


def _cleaned(key: str) -> str:
    """A key without scheme and version."""
    rest = key.partition("://")[2] or key
    return rest.rstrip("/").removesuffix("/v1").removesuffix("/v2")
