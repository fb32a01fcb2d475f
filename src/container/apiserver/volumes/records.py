"""Records of volumes on disk, `volumes/<name>/entity.json`, with the image or directory beside them."""

import contextlib
import logging
import os
import re
import subprocess
import time

from container.config import parse_size
from container.errors import ContainerError, ErrorCode, invalid_argument, os_reason
from container.linux.subids import AS_OWNERS
from container.model.volume import BLOCK_FORMAT, DIRECTORY_FORMAT, VolumeConfiguration, VolumeRequest
from container.paths import Roots
from container.store import ext4
from container.store.entities import Entities

DEFAULT_SIZE, MINIMUM_SIZE = 512 << 30, 1 << 20  # bytes, nominal: images are sparse
NAME_MAX = 255
MEASURE_TIMEOUT = 20.0  # seconds
IMAGE, DIRECTORY = "volume.img", "data"
TYPES = {"block": BLOCK_FORMAT, "directory": DIRECTORY_FORMAT}
OPTIONS = ("size", "journal", "type")
_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
_NAME = re.compile(_PATTERN[1:-1])

_log = logging.getLogger(__name__)


def entities(roots: Roots) -> Entities[VolumeConfiguration]:
    """The volumes of a system."""
    return Entities(os.path.join(roots.app, "volumes"), VolumeConfiguration, "volume")


def check_name(name: str) -> None:
    """Raises ContainerError(invalidArgument)."""
    if len(name) > NAME_MAX or not _NAME.fullmatch(name):
        raise invalid_argument(f"invalid volume name '{name}': must match {_PATTERN}")


def configure(request: VolumeRequest, directory: str) -> VolumeConfiguration:
    """The record that a request makes; `directory` is the volume's own. Raises ContainerError(invalidArgument)."""
    check_name(request.name)
    options = request.options
    unknown = sorted(set(options) - set(OPTIONS))
    if unknown:
        raise invalid_argument(f"unknown volume option '{unknown[0]}': the options are {', '.join(sorted(OPTIONS))}")
    kind = options.get("type", "block")
    if kind not in TYPES:
        raise _unsupported(f"volume type '{kind}' is not supported: the types are {', '.join(TYPES)}")
    format = TYPES[kind]
    if format == DIRECTORY_FORMAT and ("size" in options or "journal" in options):
        raise invalid_argument("a volume of type directory has neither size nor journal")
    size = None
    if format == BLOCK_FORMAT:
        size = _size(options)
        _, journal = _journal(options)
        if journal is not None and not ext4.BLOCK * 1024 <= journal <= size // 2:
            raise invalid_argument("storage error: a journal has at least 4MiB and at most half of the volume's size")
    return VolumeConfiguration(
        name=request.name,
        source=os.path.join(directory, IMAGE if format == BLOCK_FORMAT else DIRECTORY),
        creation_date=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        format=format,
        labels=dict(request.labels),
        options=dict(options),
        size_in_bytes=size,
    )


def fill(configuration: VolumeConfiguration, directory: str) -> None:
    """Make the empty image or directory of a new volume in `directory`. Blocks. Raises ContainerError."""
    if configuration.format == DIRECTORY_FORMAT:
        try:
            os.mkdir(os.path.join(directory, DIRECTORY), 0o755)
        except OSError as error:
            raise ContainerError(
                ErrorCode.INTERNAL, f"cannot make the volume's directory: {os_reason(error)}"
            ) from error
        return
    mode, journal = _journal(configuration.options)
    path = os.path.join(directory, IMAGE)
    try:
        ext4.make(path, configuration.size_in_bytes or DEFAULT_SIZE, journal_mode=mode, journal_size=journal)
    except ContainerError as error:
        raise ContainerError(error.code, f"storage error: {error.message}") from error


def clear(configuration: VolumeConfiguration) -> None:
    """Remove what only the user namespace of an ordinary user's containers can remove: files of subordinate ids.

    Blocks. What it leaves, the removal of the volume's directory meets again.
    """
    if configuration.format == DIRECTORY_FORMAT and os.getuid() != 0:
        with contextlib.suppress(OSError):
            _run([*AS_OWNERS, "rm", "-rf", "--", configuration.source])


def allocated(configuration: VolumeConfiguration) -> int:
    """Allocated bytes of the image, or of the directory with all below it, subordinate ids' files too.

    Blocks. What cannot be looked at, or not in MEASURE_TIMEOUT seconds, counts nothing.
    """
    try:
        if configuration.format == BLOCK_FORMAT:
            return os.stat(configuration.source).st_blocks * 512
        words = ["du", "-skx", "--", configuration.source]
        told = _run(words, MEASURE_TIMEOUT)
        if told.returncode != 0 and os.getuid() != 0:
            told = _run([*AS_OWNERS, *words], MEASURE_TIMEOUT)
        return int(told.stdout.split()[0]) * 1024
    except (OSError, subprocess.TimeoutExpired, IndexError) as error:
        _log.warning("volume %s cannot be measured: %s", configuration.name, error)
        return 0


def _run(words: list[str], timeout: float | None = None) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=timeout)


def _size(options: dict[str, str]) -> int:
    text = options.get("size")
    size = DEFAULT_SIZE if text is None else parse_size(text)
    if size < MINIMUM_SIZE:
        raise invalid_argument("storage error: volume size too small: minimum 1MiB")
    if size > ext4.MAXIMUM:
        raise invalid_argument("storage error: volume size too large: maximum 16TiB")
    return size


def _journal(options: dict[str, str]) -> tuple[str | None, int | None]:
    """`<mode>[:<size>]`: the mode and bytes."""
    text = options.get("journal")
    if text is None:
        return None, None
    mode, colon, size = text.partition(":")
    if mode not in ext4.JOURNAL_MODES:
        raise invalid_argument(f"storage error: invalid journal mode '{mode}': must be writeback, ordered, or journal")
    return mode, parse_size(size) if colon else None


def _unsupported(message: str) -> ContainerError:
    return ContainerError(ErrorCode.UNSUPPORTED, message)
