"""What children say: heard line by line, and nobody waits for anybody."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack, closing

import pytest

from container.vm.process import Child
from container.vm.stderr import KEPT_MAX, LINE_MAX, StandardError


@pytest.fixture
def lines() -> list[str]:
    """What was heard."""
    return []


@pytest.fixture
async def said(lines: list[str]) -> AsyncIterator[StandardError]:
    with closing(StandardError(lines.append)) as said:
        yield said


async def test_lines_are_heard_as_they_come_and_the_last_are_kept(said: StandardError, lines: list[str]) -> None:
    os.write(said.write, b"one\n\ntw")
    os.write(said.write, b"o\n" + b"x" * 5000 + b"\nend without a newline")
    said.handed_over()
    said.drain()
    assert lines == ["one", "two", "x" * LINE_MAX, "end without a newline"]
    assert said.text().endswith("x\nend without a newline")
    assert len(said.text()) == KEPT_MAX
    said.drain()


async def test_a_child_whose_pipe_is_full_goes_on(said: StandardError, lines: list[str]) -> None:
    script = """
import os
while True:
    try:
        os.write(2, b"x" * 99 + b"\\n")
    except BlockingIOError:
        break
"""
    with ExitStack() as stack:
        stack.callback(said.handed_over)
        child = Child.start([sys.executable, "-I", "-c", script], [], said.write)
    loop = asyncio.get_running_loop()
    loop.remove_reader(said._read)  # a reader that is busy
    try:
        assert await child.wait(60) == 0
    finally:
        await child.close()
    said.drain()
    assert set(lines) == {"x" * 99}
    assert child.messages() == ""
