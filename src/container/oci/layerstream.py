"""A compressed layer as the members of its tar: decompressed and hashed in a thread of its own, checked at its end."""

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from container.errors import ContainerError, ErrorCode, internal, invalid_argument, os_reason
from container.oci import compression
from container.oci.ahead import ahead
from container.oci.pipes import Cancellation
from container.oci.tarstream import TarReader

Open = Callable[[Cancellation], AbstractContextManager[Callable[[int], bytes]]]  # a `read(count)`; may wait for bytes


def stored(path: str) -> Open:
    """How to open a layer that is a file."""

    @contextlib.contextmanager
    def opened(_: Cancellation) -> Iterator[Callable[[int], bytes]]:
        with open(path, "rb", buffering=0) as file:
            yield file.read

    return opened


@contextlib.contextmanager
def members(
    blob: Open, diff_id: str, cancellation: Cancellation, progress: Callable[[int], None] | None = None
) -> Iterator[TarReader]:
    """A reader of the layer `diff_id`; leaving this reads what is left. `progress` is told the compressed bytes.

    Raises ContainerError(invalidArgument) for a corrupt blob and for one that is another layer; Cancelled.
    """
    what, digest = f"layer {diff_id}", hashlib.sha256()
    with translated(diff_id), Cancellation(cancellation) as stop, blob(stop) as read:

        def compressed() -> bytes:
            stop.check()
            data = read(compression.CHUNK)
            if progress is not None:
                progress(len(data))
            return data

        def hashed(plain: compression.Read) -> bytes:
            data = plain()
            digest.update(data)
            return data

        with compression.decompressed(compressed, what) as plain, ahead(lambda: hashed(plain), stop) as chunks:
            reader = TarReader(chunks)
            yield reader
            reader.drain()
        if f"sha256:{digest.hexdigest()}" != diff_id:
            raise invalid_argument(f"{what} is corrupt: its contents have the digest sha256:{digest.hexdigest()}")


@contextlib.contextmanager
def translated(diff_id: str) -> Iterator[None]:
    """Has errors name the layer."""
    try:
        yield
    except ContainerError as error:
        if error.code is ErrorCode.INVALID_ARGUMENT and diff_id not in error.message:
            raise invalid_argument(f"layer {diff_id} is corrupt: {error.message}") from error
        raise
    except OSError as error:
        raise internal(f"cannot unpack layer {diff_id}: {os_reason(error)}") from error
