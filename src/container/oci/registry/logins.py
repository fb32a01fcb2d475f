"""Logins that this user made: our own config.json, in docker's form, with the dates of each login beside it."""

import base64
import contextlib
import datetime
import os
from collections.abc import Iterator
from typing import Any

from container.errors import ContainerError, internal, os_reason
from container.model.registry import Registry
from container.oci.registry import credentials, helper
from container.oci.registry.credentials import Credential, Sources
from container.oci.registry.endpoints import api_host
from container.store import atomic, locks

UNKNOWN_DATE = "1970-01-01T00:00:00Z"
_DATES = ("containerCreated", "containerModified")  # beside `auth`; docker passes over keys that it does not know


async def add(sources: Sources, host: str, credential: Credential) -> None:
    """Keep a credential for a host, in the helper that our file names for it, if any. Raises ContainerError."""
    program = credentials.helper_of(credentials.load(sources.own), host)
    if program:
        await helper.store(program, credentials.server_of(host), credential.username, credential.password)
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    with _changed(sources.own) as config:
        auths = config.setdefault("auths", {})
        before = auths.get(host)
        created = before.get(_DATES[0]) if isinstance(before, dict) else None
        entry: dict[str, Any] = {_DATES[0]: created or now, _DATES[1]: now}
        if program:
            entry["username"] = credential.username
        else:
            text = f"{credential.username}:{credential.password}"
            entry["auth"] = base64.b64encode(text.encode()).decode()
        auths[host] = entry


async def remove(sources: Sources, host: str) -> None:
    """Forget a host; nothing happens when it is not known. Raises ContainerError."""
    config = credentials.load(sources.own)
    auths = config.get("auths") or {}
    known = [key for key in credentials.keys_of(host) if key in auths]
    program = credentials.helper_of(config, host)
    if program:
        await helper.erase(program, credentials.server_of(host))
    if known:
        with _changed(sources.own) as changed:
            for key in known:
                changed.get("auths", {}).pop(key, None)


async def registries(sources: Sources) -> list[Registry]:
    """Every host that there is a login for, also another program's, sorted. Raises ContainerError for our own file."""
    found: dict[str, Registry] = {}
    for path in (sources.own, *sources.files):
        try:
            for item in await _entries(path):
                found.setdefault(item.id, item)
        except ContainerError:
            if path == sources.own:
                raise
    return [found[host] for host in sorted(found)]


async def _entries(path: str) -> list[Registry]:
    config = credentials.load(path)
    auths = config.get("auths")
    items = list(auths.items()) if isinstance(auths, dict) else []
    kept: dict[str, str] = {}
    programs = {str(name) for name in [config.get("credsStore"), *(config.get("credHelpers") or {}).values()] if name}
    for program in sorted(programs):
        with contextlib.suppress(ContainerError):
            kept |= {api_host(server): username for server, username in (await helper.entries(program)).items()}
    found = []
    for key, entry in items:
        host, known = api_host(str(key)), credentials.decode(entry)
        entry = entry if isinstance(entry, dict) else {}
        username = known.username if known else kept.get(host) or str(entry.get("username") or "")
        dates = [str(entry.get(name) or UNKNOWN_DATE) for name in _DATES]
        kept.pop(host, None)
        if username:
            found.append(Registry(host, host, username, dates[0], dates[1]))
    found += [Registry(host, host, username, UNKNOWN_DATE, UNKNOWN_DATE) for host, username in kept.items()]
    return found


@contextlib.contextmanager
def _changed(path: str) -> Iterator[dict[str, Any]]:
    """Our file, to be changed: written back with mode 0600 when the block succeeds."""
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    except OSError as error:
        raise internal(f"cannot create {os.path.dirname(path)}: {os_reason(error)}") from error
    with locks.locked(f"{path}.lock"):
        config = credentials.load(path)
        if not isinstance(config.setdefault("auths", {}), dict):
            raise internal(f"cannot change {path}: its auths are malformed")
        yield config
        atomic.write_json(path, config, mode=0o600)
