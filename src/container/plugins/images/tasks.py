"""How work that takes time runs here: in threads that can be told to stop, shared by those who want its result.

events(work)      the progress and the result of a coroutine as an asynchronous iterator
in_thread(…)      a blocking function in a thread; cancelling waits until the thread has ended
to_its_end(work)  a coroutine that is not cancelled with its caller
Flights           one task a key, however many ask; it is cancelled when the last one has gone
all_of(work)      coroutines side by side
Meter             bytes counted in threads, reported in the loop a few times a second
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from container.oci.pipes import Cancellation

P = ParamSpec("P")
T = TypeVar("T")

_INTERVAL = 0.1

# Started as needed. What waits, for a client's pipe or for bytes of a registry, must never keep out what it waits for.
_short = ThreadPoolExecutor(32, thread_name_prefix="short")
_long = ThreadPoolExecutor(4096, thread_name_prefix="long")


async def in_thread(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a blocking function that waits for nobody and takes no cancellation: a short one."""
    return await _ended(_short.submit(function, *args, **kwargs), lambda: None)


async def cancellable(cancellation: Cancellation, function: Callable[[], T]) -> T:
    """Run a blocking function; cancelling sets `cancellation` and waits for the function to heed it."""
    return await _ended(_long.submit(function), cancellation.set)


async def _ended(work: Future[T], stop: Callable[[], None]) -> T:
    """The result of work in a thread; cancelled, ask it to stop and wait for its end, unless it has not begun."""
    future = asyncio.wrap_future(work)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        if not work.cancel():
            stop()
        await _settled(future)
        raise


async def to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine, which is not cancelled when its caller is: that waits for its end."""
    task = asyncio.get_running_loop().create_task(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await _settled(task)
        raise


async def _settled(future: asyncio.Future[T]) -> None:
    """Wait for the end of something that was told to end; being cancelled meanwhile, once more, changes nothing."""
    while not future.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([future])
    if not future.cancelled():
        future.exception()  # seen: what ends the caller is something else


async def events(work: Callable[[Callable[[T], None]], Coroutine[Any, Any, T]]) -> AsyncIterator[T]:
    """What `work` reports, then what it returns. Closing the iterator cancels `work` and waits for its end."""
    queue: asyncio.Queue[T | None] = asyncio.Queue()
    task = asyncio.get_running_loop().create_task(work(queue.put_nowait))
    task.add_done_callback(lambda _: queue.put_nowait(None))
    try:
        while (event := await queue.get()) is not None:
            yield event
        yield task.result()
    finally:
        task.cancel()
        await _settled(task)


async def all_of(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """The results of coroutines that run side by side; the first error cancels the others and is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(item) for item in work]
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]


class Meter:
    """Counts bytes from any thread and tells `report` the sum, in the loop, at most ten times a second."""

    def __init__(self, report: Callable[[int], None]) -> None:
        self._report = report
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._sum = self._told = 0
        self._next = 0.0

    def close(self) -> None:
        """Report what was counted since the last report; call it in the loop, after the threads have ended."""
        with self._lock:
            untold, self._told = self._sum != self._told, self._sum
        if untold:
            self._report(self._told)

    def add(self, count: int) -> None:
        """Count some more."""
        with self._lock:
            self._sum += count
            now = time.monotonic()
            if now < self._next:
                return
            self._next = now + _INTERVAL
            total = self._told = self._sum
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._report, total)


class _Flight:
    def __init__(self) -> None:
        self.task: asyncio.Task[None]
        self.result: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.passengers = 0


class Flights:
    """Shared work. A context manager: leaving it cancels what is under way."""

    def __init__(self) -> None:
        self._flights: dict[str, _Flight] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._group = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for flight in list(self._flights.values()):
            flight.task.cancel()
        await self._group.__aexit__(kind, error, trace)

    def join(self, key: str, work: Callable[[], Awaitable[T]]) -> "Ticket[T]":
        """A share in the work called `key`, which starts now unless somebody has a share in it."""
        flight = self._flights.get(key)
        began = flight is None
        if flight is None:
            flight = self._flights[key] = _Flight()
            flight.task = self._group.create_task(self._fly(key, flight, work))
        flight.passengers += 1
        return Ticket(self, key, flight, began)

    def leave(self, key: str, flight: _Flight) -> None:
        """Give a share back; the last one cancels the work."""
        flight.passengers -= 1
        if flight.passengers == 0:
            if flight.task.cancel():
                self._ending.add(flight.task)
                flight.task.add_done_callback(self._ending.discard)
            self._forget(key, flight)

    async def ended(self) -> None:
        """Wait for the end of all work that was cancelled: until then it may still leave something behind."""
        while self._ending:
            await asyncio.wait(self._ending)

    def _forget(self, key: str, flight: _Flight) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]

    async def _fly(self, key: str, flight: _Flight, work: Callable[[], Awaitable[Any]]) -> None:
        try:
            value = await work()
        except Exception as error:
            self._forget(key, flight)  # who comes now begins anew
            if not flight.result.done():
                flight.result.set_exception(error)
                flight.result.exception()  # seen, also when nobody waits
        else:
            if not flight.result.done():
                flight.result.set_result(value)
        finally:
            flight.result.cancel()


class Ticket(contextlib.AbstractContextManager["Ticket[T]"]):
    """A share in work; a context manager that gives it back. `began`: the work is that of this share's owner."""

    def __init__(self, flights: Flights, key: str, flight: _Flight, began: bool) -> None:
        self.began = began
        self._flights = flights
        self._key = key
        self._flight = flight

    def __exit__(self, *_: object) -> None:
        self._flights.leave(self._key, self._flight)

    async def result(self) -> T:
        """The result of the work, or its error."""
        value: T = await asyncio.shield(self._flight.result)
        return value
