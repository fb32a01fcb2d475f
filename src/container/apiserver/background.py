"""Tasks that outlive the call that began them: one owner, which logs what they did not expect and ends them all."""

import asyncio
import logging
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

_log = logging.getLogger(__name__)

T = TypeVar("T")


class Background:
    """An asyncio.TaskGroup whose tasks do not take each other down.

    Leaving `async with` cancels what still runs and waits for it.
    """

    def __init__(self) -> None:
        self._group = asyncio.TaskGroup()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await self._group.__aexit__(kind, error, trace)

    def start(self, work: Coroutine[Any, Any, None], name: str, *, vital: bool = False) -> asyncio.Task[None]:
        """Run `work`; an exception of it is logged under `name`, and with `vital` ends the block of `async with`."""
        task = self._group.create_task(work if vital else _guarded(work, name), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: work.close())  # a task that is cancelled at once never began it
        return task

    async def complete(self, work: Coroutine[Any, Any, T], name: str) -> T:
        """Run `work` to its end even if the caller is cancelled meanwhile; its result or exception is the caller's."""
        outcome: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.start(_into(outcome, work), name)
        return await asyncio.shield(outcome)


async def _guarded(work: Coroutine[Any, Any, None], name: str) -> None:
    try:
        await work
    except Exception:
        _log.exception("%s failed unexpectedly", name)


async def _into(outcome: "asyncio.Future[T]", work: Coroutine[Any, Any, T]) -> None:
    try:
        result = await work
    except Exception as error:
        outcome.set_exception(error)
        outcome.exception()  # the caller may be gone: then nobody else retrieves it
    except BaseException:
        outcome.cancel()
        raise
    else:
        outcome.set_result(result)
