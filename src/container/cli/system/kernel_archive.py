"""A kernel out of a tar archive, which may be fetched by HTTP and must then have the given digest."""

from __future__ import annotations

import hashlib
import os
import posixpath
import tarfile

from container.errors import ContainerError, ErrorCode, invalid_argument, not_found, os_reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from container.cli.progress import Progress

CHUNK = 1 << 20
STEPS = 3
LINKS_MAX = 16
CONNECT_TIMEOUT = 60.0


def is_remote(word: str) -> bool:
    """Whether `--tar` names a URL."""
    return word.startswith(("http://", "https://"))


def parse_digest(text: str) -> str:
    """The hex digits of `sha256:<hex>`. Raises ContainerError(invalidArgument)."""
    algorithm, colon, value = text.partition(":")
    if not colon or not algorithm or not value:
        raise invalid_argument(f"invalid digest value '{text}': expected '<algorithm>:<hex>'")
    if algorithm != "sha256":
        raise invalid_argument(f"unsupported digest algorithm '{algorithm}'")
    if len(value) != 64 or set(value.lower()) - set("0123456789abcdef"):
        raise invalid_argument(f"invalid sha256 digest value '{value}'")
    return value.lower()


def fetch(archive: str, member: str, digest: str | None, directory: str, display: Progress) -> str:
    """Path of the file `member` of the archive, unpacked into `directory`. Raises ContainerError."""
    if is_remote(archive):
        path = _download(archive, os.path.join(directory, "archive"), display)
    else:
        display.update({"description": "Reading kernel archive", "step": 1, "steps": STEPS})
        path = archive
    display.update({"description": "Verifying kernel archive", "step": 2, "steps": STEPS})
    if digest is not None:
        _verify(path, digest)
    display.update({"description": "Unpacking kernel", "step": 3, "steps": STEPS})
    try:
        return _unpack(_plain(path, directory), member, directory)
    except (OSError, tarfile.TarError, EOFError) as error:
        reason = getattr(error, "strerror", None) or error
        raise invalid_argument(f"failed to read the kernel archive {archive}: {reason}") from error


def _download(url: str, path: str, display: Progress) -> str:
    from urllib.request import urlopen

    event = {"description": "Downloading kernel", "step": 1, "steps": STEPS}
    display.update(event)
    try:
        with urlopen(url, timeout=CONNECT_TIMEOUT) as reply, open(path, "wb") as file:  # noqa: S310 - http(s), see is_remote
            total = int(reply.headers.get("Content-Length") or 0)
            while data := reply.read(CHUNK):
                file.write(data)
                display.update({**event, "bytes": file.tell(), **({"totalBytes": total} if total else {})})
    except (OSError, ValueError) as error:
        raise ContainerError(ErrorCode.INTERNAL, f"failed to download {url}: {error}") from error
    return path


def _verify(path: str, digest: str) -> None:
    try:
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise not_found(f"failed to read the kernel archive {path}: {os_reason(error)}") from error
    if found != digest:
        raise invalid_argument(f"kernel archive digest mismatch: expected sha256:{digest}, got sha256:{found}")


def _plain(path: str, directory: str) -> str:
    """The archive, without zstd compression, which tarfile does not know."""
    with open(path, "rb") as file:
        if file.read(4) != b"\x28\xb5\x2f\xfd":
            return path
    import subprocess

    target = os.path.join(directory, "archive.tar")
    result = subprocess.run(["zstd", "-dqf", path, "-o", target], capture_output=True, text=True, check=False)
    if result.returncode:
        raise OSError(f"zstd: {result.stderr.strip()}")
    return target


def _unpack(path: str, member: str, directory: str) -> str:
    with tarfile.open(path) as archive:
        entries = {_normal(each.name): each for each in archive}
        name = _normal(member)
        for _ in range(LINKS_MAX):
            entry = entries.get(name)
            if entry is None:
                raise not_found(
                    "cannot install the kernel: "
                    f"no file {member} in the kernel archive" + ("" if name == _normal(member) else f" ({name})")
                )
            if entry.issym():
                name = _normal(posixpath.join(posixpath.dirname(name), entry.linkname))
            elif entry.islnk():
                name = _normal(entry.linkname)
            else:
                return _extract(archive, entry, member, directory)
    raise invalid_argument(f"cannot install the kernel: too many links lead to {member} in the kernel archive")


def _extract(archive: tarfile.TarFile, entry: tarfile.TarInfo, member: str, directory: str) -> str:
    source = archive.extractfile(entry)
    if source is None:
        raise invalid_argument(f"cannot install the kernel: {member} in the kernel archive is no file")
    target = os.path.join(directory, posixpath.basename(_normal(entry.name)))
    with source, open(target, "wb") as file:
        while data := source.read(CHUNK):
            file.write(data)
    return target


def _normal(name: str) -> str:
    return posixpath.normpath("/" + name.lstrip("/"))
