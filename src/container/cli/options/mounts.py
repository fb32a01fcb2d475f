"""`-v`, `--mount`, `--tmpfs`, `--publish-socket` (contract 1.12)."""

from __future__ import annotations

import os

from container.cli.options.size import parse_size
from container.errors import invalid_argument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

VOLUME_FORMATS = "expected name:/path, /host/path:/path or /path, options after another colon as in name:/path:ro"
TYPES = {"bind": "virtiofs", "virtiofs": "virtiofs", "volume": "volume", "tmpfs": "tmpfs"}
SOURCE = ("source", "src")
TARGET = ("target", "destination", "dst")
FLAGS = ("readonly", "ro")
IDS = ("uid", "gid")  # of binds: who the source's owner is inside
TMPFS_FLAGS = ("ro", "rw", "noexec", "exec", "nosuid", "suid", "nodev", "dev")
KEYS = ("type", *SOURCE, *TARGET, *FLAGS, *IDS, "size", "mode")


def parse_mounts(volumes: list[str], mounts: list[str], tmpfs: list[str]) -> list[dict[str, Any]]:
    """All mounts in JSON shape, in the order tmpfs, volumes, mounts; repeats are dropped."""
    found = [parse_tmpfs(word) for word in tmpfs]
    found += [parse_volume(word) for word in volumes]
    found += [parse_mount(word) for word in mounts]
    unique: list[dict[str, Any]] = []
    for each in found:
        if each not in unique:
            unique.append(each)
    return unique


def _mount(kind: str, source: str, destination: str, options: list[str] | None = None) -> dict[str, Any]:
    detail = {"name": source} if kind == "volume" and source else {}
    return {"type": {kind: detail}, "source": source, "destination": destination, "options": options or []}


def _is_path(source: str) -> bool:
    return "/" in source or source in (".", "..")


def parse_volume(word: str) -> dict[str, Any]:
    """`/path` (anonymous volume) or `source:destination[:option,…]`."""
    source, *rest = word.split(":")
    if not rest:
        if not source.startswith("/"):
            raise invalid_argument(f"invalid volume format {word}; {VOLUME_FORMATS}")
        return _mount("volume", "", source)
    if len(rest) > 2 or not source or not rest[0]:
        raise invalid_argument(f"invalid volume format {word}; {VOLUME_FORMATS}")
    options = [each for each in rest[1].split(",") if each] if len(rest) == 2 else []
    if not _is_path(source):
        return _mount("volume", source, rest[0], options)
    path = os.path.abspath(source)
    if not os.path.exists(path):
        raise invalid_argument(f"cannot mount {word}: path '{source}' does not exist")
    return _mount("virtiofs", path, rest[0], options)


def parse_tmpfs(word: str) -> dict[str, Any]:
    """`/path[:option,…]`, with docker's options: those of mount(8) and `size=`, `mode=`."""
    path, _, listed = word.partition(":")
    options = []
    for part in filter(None, listed.split(",")):
        key, _, value = part.partition("=")
        if part in TMPFS_FLAGS:
            options.append(part)
        elif key in ("size", "mode") and value:
            options.append(_tmpfs_option(key, value, "tmpfs"))
        else:
            known = ", ".join(("size=SIZE", "mode=MODE", *TMPFS_FLAGS))
            raise invalid_argument(f"cannot mount a tmpfs with {word}: unknown option {part}; known are {known}")
    return _mount("tmpfs", "tmpfs", path, options)


def parse_mount(word: str) -> dict[str, Any]:
    """`key=value,…`."""
    values: dict[str, str] = {}
    options: list[str] = []
    pairs = [part.partition("=") for part in word.split(",") if part]
    kind = _kind(next((value for key, _, value in pairs if key.strip().lower() == "type"), "bind"))
    for raw, equals, value in pairs:
        key = raw.strip().lower()
        if key in FLAGS and not equals:
            options.append("ro")
            continue
        if key == "inotify" and not equals and kind != "tmpfs":
            options.append(key)
            continue
        if key not in KEYS:
            raise invalid_argument(f"unknown directive {raw} when parsing mount {word}; known are {', '.join(KEYS)}")
        if not value and key not in TARGET:
            raise invalid_argument(
                f"invalid directive format missing value {raw}{equals} in {word}; expected {raw}=value"
            )
        if key in ("size", "mode"):
            options.append(_tmpfs_option(key, value, kind))
        elif key in IDS:
            options.append(_id_option(key, value, kind))
        elif key in FLAGS:
            options += ["ro"] if value.lower() in ("true", "1") else []
        elif key != "type":
            values["source" if key in SOURCE else "target"] = value
    return _build_mount(kind, values, options)


def _kind(text: str) -> str:
    if text.lower() not in TYPES:
        raise invalid_argument(f"unsupported mount type {text}; expected {', '.join(TYPES)}")
    return TYPES[text.lower()]


def _tmpfs_option(key: str, value: str, kind: str) -> str:
    if kind != "tmpfs":
        raise invalid_argument(f"unsupported option {key} for {kind} mount")
    return f"size={parse_size(value)}" if key == "size" else f"mode={value}"


def _id_option(key: str, value: str, kind: str) -> str:
    if kind != "virtiofs":
        raise invalid_argument(f"unsupported option {key} for {kind} mount")
    return f"{key}={value}"


def _build_mount(kind: str, values: dict[str, str], options: list[str]) -> dict[str, Any]:
    source, target = values.get("source", ""), values.get("target", "")
    if not target:
        raise invalid_argument(
            f"{'volume' if kind == 'volume' else 'mount'} destination cannot be empty; give it as target=/path"
        )
    if kind == "tmpfs":
        if source:
            raise invalid_argument(f"cannot specify source for tmpfs mount: {source}; leave it out")
        return _mount(kind, "tmpfs", target, options)
    if kind == "volume":
        return _mount(kind, source, target, options)
    path = os.path.abspath(source)
    if not source or not os.path.exists(path):
        raise invalid_argument(f"cannot mount at {target}: path '{source}' does not exist")
    if not os.path.isdir(path):
        raise invalid_argument(
            f"cannot mount: path '{source}' is not a directory; a single file is mounted by --volume"
        )
    return _mount(kind, path, target, options)


def parse_sockets(words: list[str]) -> list[dict[str, Any]]:
    """`host:container` in JSON shape; the host's path made absolute."""
    sockets = []
    for word in words:
        host, colon, container = word.partition(":")
        if not colon or not host or not container or ":" in container:
            raise invalid_argument(f"invalid publish-socket format {word}. Expected: host_path:container_path")
        if not container.startswith("/"):
            raise invalid_argument(f"cannot publish socket {word}: containerPath must be absolute: {container}")
        sockets.append({"hostPath": os.path.abspath(host), "containerPath": container})
    return sockets
