"""A new image out of another one and a layer: the layer's blob, and the documents around it (OCI image-spec)."""

import hashlib
import json
import shlex
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from container.errors import ContainerError, ErrorCode, invalid_argument
from container.model import codec
from container.model.files import CommitOptions
from container.model.image import Descriptor
from container.oci.content import Ingest
from container.oci.image import Variant
from container.oci.mediatypes import CONFIG, INDEX, LAYER, MANIFEST

_END = bytes(1024)  # the two zero blocks that end a tar: a stream without them was cut off
_LEVEL = 1  # of gzip: what is committed is large and seldom sent


def take_layer(ingest: Ingest, read: Callable[[], bytes], count: Callable[[int], None]) -> tuple[Descriptor, str]:
    """Take an uncompressed tar as a gzip layer: its descriptor and its diff-id; `count` is told the bytes read.

    Raises ContainerError(interrupted) when the tar has no end, and as `Ingest.add`.
    """
    plain, tail = hashlib.sha256(), b""

    def compressed() -> Iterator[bytes]:
        nonlocal tail
        gzip = zlib.compressobj(_LEVEL, wbits=31)
        while data := read():
            plain.update(data)
            tail = (tail + data)[-len(_END) :]
            count(len(data))
            if piece := gzip.compress(data):
                yield piece
        if tail != _END:
            raise ContainerError(ErrorCode.INTERRUPTED, "cannot commit: the new layer ended too early")
        yield gzip.flush()

    digest, size = ingest.add(compressed(), None, "the new layer")
    return Descriptor(f"{LAYER}+gzip", digest, size), f"sha256:{plain.hexdigest()}"


def add_documents(
    ingest: Ingest, base: Variant, layer: Descriptor, diff_id: str, options: CommitOptions, created: str
) -> Descriptor:
    """Take config, manifest and index of `base` with one more layer; the index's descriptor. `created` is RFC 3339.

    Raises ContainerError(invalidArgument) for a change that is none.
    """
    config = ingest.add_document(_config(base, diff_id, options, created), CONFIG)
    layers = [codec.encode(item) for item in (*base.layers, layer)]
    body = {"schemaVersion": 2, "mediaType": MANIFEST, "config": codec.encode(config), "layers": layers}
    manifest = codec.encode(ingest.add_document(body, MANIFEST)) | {"platform": codec.encode(base.platform)}
    return ingest.add_document({"schemaVersion": 2, "mediaType": INDEX, "manifests": [manifest]}, INDEX)


def _config(base: Variant, diff_id: str, options: CommitOptions, created: str) -> dict[str, Any]:
    document = dict(base.document)
    settings = dict(document.get("config") or {})
    for text in options.changes:
        apply(settings, text)
    history = {"created": created, "created_by": "container commit"}
    history |= {"author": options.author} if options.author else {}
    history |= {"comment": options.message} if options.message else {}
    return {
        **document,
        "created": created,
        **({"author": options.author} if options.author else {}),
        "config": settings,
        "rootfs": {"type": "layers", "diff_ids": [*base.diff_ids(), diff_id]},
        "history": [*(document.get("history") or []), history],
    }


def apply(settings: dict[str, Any], text: str) -> None:
    """Apply a Dockerfile instruction to an image's `config`. Raises ContainerError(invalidArgument)."""
    word, _, rest = text.strip().partition(" ")
    instruction = _INSTRUCTIONS.get(word.upper())
    rest = rest.strip()
    if instruction is None or not rest:
        raise invalid_argument(f"invalid change '{text}': expected one of {', '.join(_INSTRUCTIONS)} with its value")
    try:
        instruction(settings, rest)
    except ValueError as error:
        raise invalid_argument(f"invalid change '{text}': {error}") from error


def _words(text: str) -> list[str]:
    """The exec form, a JSON array of strings, or what the shell would make of it."""
    if not text.startswith("["):
        return shlex.split(text)
    words = json.loads(text)
    if not all(isinstance(word, str) for word in words):
        raise ValueError("expected strings")
    return [str(word) for word in words]


def _command(key: str) -> Callable[[dict[str, Any], str], None]:
    def instruction(settings: dict[str, Any], text: str) -> None:
        settings[key] = _words(text) if text.startswith("[") else ["/bin/sh", "-c", text]

    return instruction


def _text(key: str) -> Callable[[dict[str, Any], str], None]:
    def instruction(settings: dict[str, Any], text: str) -> None:
        settings[key] = text

    return instruction


def _names(key: str, suffix: str = "") -> Callable[[dict[str, Any], str], None]:
    def instruction(settings: dict[str, Any], text: str) -> None:
        names = [name if "/" in name else name + suffix for name in _words(text)]
        settings[key] = {**(settings.get(key) or {}), **{name: {} for name in names}}

    return instruction


def _pairs(text: str) -> dict[str, str]:
    if "=" not in text.split(None, 1)[0]:
        key, _, value = text.partition(" ")
        if not value.strip():
            raise ValueError("expected key=value")
        return {key: value.strip()}
    pairs = [word.partition("=") for word in shlex.split(text)]
    if not all(equals for _, equals, _ in pairs):
        raise ValueError("expected key=value")
    return {key: value for key, _, value in pairs}


def _env(settings: dict[str, Any], text: str) -> None:
    known = {entry.partition("=")[0]: entry.partition("=")[2] for entry in settings.get("Env") or []}
    settings["Env"] = [f"{key}={value}" for key, value in {**known, **_pairs(text)}.items()]


def _label(settings: dict[str, Any], text: str) -> None:
    settings["Labels"] = {**(settings.get("Labels") or {}), **_pairs(text)}


_INSTRUCTIONS: dict[str, Callable[[dict[str, Any], str], None]] = {
    "CMD": _command("Cmd"),
    "ENTRYPOINT": _command("Entrypoint"),
    "ENV": _env,
    "EXPOSE": _names("ExposedPorts", "/tcp"),
    "LABEL": _label,
    "STOPSIGNAL": _text("StopSignal"),
    "USER": _text("User"),
    "VOLUME": _names("Volumes"),
    "WORKDIR": _text("WorkingDir"),
}
