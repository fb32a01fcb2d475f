"""Reading ahead: a thread makes the next chunks of a stream while its owner works on the last ones."""

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator

from container.oci.compression import Read
from container.oci.pipes import Cancellation

_CHUNKS = 4


@contextlib.contextmanager
def ahead(read: Read, stop: Cancellation) -> Iterator[Read]:
    """A reader of the same stream as `read`, which runs in a thread of its own from now on; raises what that raises.

    `stop` is set when this is left; `read` must heed it.
    """
    thread = _Thread(read)
    try:
        yield thread.next
    finally:
        stop.set()
        thread.end()


class _Thread(threading.Thread):
    def __init__(self, read: Callable[[], bytes]) -> None:
        super().__init__(name="ahead", daemon=True)
        self._read = read
        self._queue: queue.Queue[bytes | BaseException] = queue.Queue(_CHUNKS)
        self._ended: bytes | BaseException | None = None
        self._left = False
        self.start()

    def run(self) -> None:
        data: bytes | BaseException = b"-"
        while data and not self._left and not isinstance(data, BaseException):
            try:
                data = self._read()
            except BaseException as error:
                data = error
            self._queue.put(data)

    def next(self) -> bytes:
        data = self._queue.get() if self._ended is None else self._ended
        if isinstance(data, BaseException):
            self._ended = data
            raise data
        if not data:
            self._ended = data
        return data

    def end(self) -> None:
        self._left = True
        with contextlib.suppress(queue.Empty):
            while True:  # room for the one chunk that may be on its way
                self._queue.get_nowait()
        self.join()
