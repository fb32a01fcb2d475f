"""Progress of longer tasks on standard error (contract 1.6): redrawn lines, or plain ones, or nothing."""

from __future__ import annotations

import contextlib
import os
import time

from container.cli import output, sizes
from container.cli.bars import FULL, Bars
from container.cli.spec import Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    import threading
    from typing import Any

GROUP = "PROGRESS OPTIONS"
MODES = ("auto", "none", "ansi", "plain", "color")
OPTION = Option(
    "progress", "--progress", "How progress is shown", value="type", default="auto", choices=MODES, group=GROUP
)
CREATE_STEPS = (
    "Fetching image",
    "Unpacking image",
    "Fetching kernel",
    "Fetching init image",
    "Unpacking init image",
)
RUN_STEPS = (*CREATE_STEPS, "Starting container")
FETCH_STEPS = tuple(step for step in RUN_STEPS if step.startswith("Fetching"))
FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
DELAY = 0.3  # seconds: nothing is shown of what takes less
TICK = 0.1  # seconds between two frames of the spinner
PLAIN_INTERVAL = 1.0
PATIENCE = 1.0  # seconds for a terminal that takes nothing, after Ctrl-S say
ERASE_LINE, ERASE_BELOW = "\x1b[K", "\x1b[J"
UP = "\x1b[{}A"
CYAN, RESET = "\x1b[36m", "\x1b[0m"


def create(mode: str, steps: tuple[str, ...] = ()) -> Progress:
    """The display for a `--progress` word; `ansi` and `color` show nothing when standard error is no terminal.

    `steps` are the descriptions of the task's steps, for events that do not say where they are.
    """
    terminal = os.isatty(2) and os.environ.get("TERM") != "dumb"
    if mode == "plain":
        return Plain(State(steps))
    if mode == "auto" and not terminal:
        return Plain(State(steps), delay=DELAY, begin=FETCH_STEPS if steps == RUN_STEPS else ())
    if mode == "none" or not terminal:
        return Progress()
    return Animated(State(steps), color=mode == "color" and not os.environ.get("NO_COLOR"))


class Progress:
    """Shows nothing; the base of those that do. A context manager that leaves the terminal clean."""

    shows = False

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()

    def update(self, event: dict[str, Any]) -> None:
        """Take in a Progress object in JSON shape; one without a description clears the line."""

    def clear(self) -> None:
        """Clear the line, for others to write; it comes back by itself."""

    def finish(self) -> None:
        """Clear the line; nothing is shown from now on. May be called again."""


class State:
    """The latest event, with what is derived from the ones before it."""

    def __init__(self, steps: tuple[str, ...] = ()) -> None:
        self.started = time.monotonic()
        self._steps = steps
        self.event: dict[str, Any] = {}
        self._task: tuple[Any, ...] = ()
        self._since = self.started
        self._first_bytes = 0

    def take(self, event: dict[str, Any]) -> None:
        """Replace the event; a new step starts a new measurement of speed."""
        if not event.get("steps") and event.get("description") in self._steps:
            event = {**event, "step": self._steps.index(event["description"]) + 1, "steps": len(self._steps)}
        task = (event.get("step"), event.get("description"))
        if task != self._task:
            self._task, self._since, self._first_bytes = task, time.monotonic(), event.get("bytes") or 0
        self.event = event

    def speed(self) -> float | None:
        """Bytes a second within the step, None while unknown."""
        elapsed, done = time.monotonic() - self._since, self.event.get("bytes")
        if done is None or elapsed < TICK or done <= self._first_bytes:
            return None
        return (int(done) - self._first_bytes) / elapsed

    def line(self, width: int | None = None, spinner: str = "") -> str:
        """`[2/6] Unpacking image 45% (120 of 300 entries, 12 of 40 MB, 3.1 MB/s) [5s]`, cut from the right."""
        event = self.event
        head = [spinner] if spinner else []
        if event.get("steps"):
            head.append(f"[{event.get('step', 0)}/{event['steps']}]")
        description = str(event.get("description", ""))
        percent, details = self._details()
        elapsed = f"[{duration(time.monotonic() - self.started)}]"
        variants = [[*percent, f"({', '.join(details[:count])})", elapsed] for count in range(len(details), 0, -1)]
        variants += [[*percent, elapsed], [*percent], []]
        for variant in variants:
            text = " ".join([*head, description, *variant])
            if width is None or len(text) < width:
                return text
        text = " ".join(head)
        return text if width is None or len(text) < width else ""

    def _details(self) -> tuple[list[str], list[str]]:
        event = self.event
        details = [event["note"]] if event.get("note") else []
        done, total = event.get("items"), event.get("totalItems")
        if done is not None:
            details.append(f"{done} of {total} entries" if total else f"{done} entries")
        size, whole = event.get("bytes"), event.get("totalBytes")
        if size is not None:
            details.append(sizes.of(size, whole) if whole else sizes.binary(size))
        speed = self.speed()
        if speed is not None:
            details.append(f"{sizes.binary(speed)}/s")
        part, of = (size, whole) if whole else (done, total)
        percent = [f"{min(100, 100 * part // of)}%"] if of and part is not None else []
        return percent, details


def duration(seconds: float) -> str:
    """`5s`, `1m 5s`, `1h 0m 5s`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    text = f"{rest}s"
    if minutes or hours:
        text = f"{minutes}m {text}"
    return f"{hours}h {text}" if hours else text


class Plain(Progress):
    """Lines without escapes: at most one a second, and the last one."""

    shows = True

    def __init__(self, state: State, *, delay: float = 0.0, begin: tuple[str, ...] = ()) -> None:
        """Nothing is shown for `delay` seconds, nor before one of the steps in `begin`, where there are any."""
        self._state = state
        self._begin = begin
        self._next = time.monotonic() + delay
        self._shown = False
        self._pending: str | None = None

    def update(self, event: dict[str, Any]) -> None:
        """See `Progress`."""
        if not event.get("description") or (self._begin and event["description"] not in self._begin):
            return
        self._begin = ()
        self._state.take(event)
        self._pending = self._state.line()
        self._flush()

    def _flush(self) -> None:
        if self._pending is not None and time.monotonic() >= self._next:
            output.error_line(self._pending)
            self._shown, self._pending, self._next = True, None, time.monotonic() + PLAIN_INTERVAL

    def finish(self) -> None:
        """See `Progress`."""
        if self._shown:
            self._next = 0.0
        self._flush()


class Animated(Progress):
    """One line with a spinner, and one a part below it, redrawn in place by a thread of its own.

    Between two frames the cursor is at the beginning of the first line: there it stays when a terminal that becomes
    narrower breaks the lines anew, so that all of them can be erased. It is never hidden: whoever ends this process
    leaves it visible.
    """

    shows = True

    def __init__(self, state: State, *, color: bool) -> None:
        self._color = color
        self._state = state
        self._bars = Bars()
        self._shown = False
        self._frame = 0
        self._thread: threading.Thread | None = None
        self._lock: threading.Lock | None = None
        self._stop: threading.Event | None = None

    def update(self, event: dict[str, Any]) -> None:
        """See `Progress`."""
        if self._lock is None:
            self._start()
        assert self._lock is not None
        with self._lock:
            self._state.take(event)
            self._bars.take(event.get("parts") or [])

    def _start(self) -> None:
        import threading

        self._lock, self._stop = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._spin, args=(self._lock, self._stop), daemon=True)
        self._thread.start()

    def _spin(self, lock: threading.Lock, stop: threading.Event) -> None:
        pause = DELAY
        with contextlib.suppress(OSError):  # the terminal is gone
            while not stop.wait(pause):
                with lock:
                    self._draw()
                pause = TICK
            with lock:
                self._erase()

    def _draw(self) -> None:
        if not self._state.event.get("description"):
            self._erase()
            return
        try:
            width, height = os.get_terminal_size(2)
        except OSError:
            width, height = 0, 0
        width, height = width or 80, height or 24
        spinner = FRAMES[self._frame % len(FRAMES)]
        self._frame += 1
        lines = [self._state.line(width, spinner), *self._bars.lines(width, height - 2)]
        text = f"{ERASE_LINE}\r\n".join(self._colored(line, spinner) for line in lines)
        up = UP.format(len(lines) - 1) if len(lines) > 1 else ""
        self._shown = True
        output.error_write(f"\r{text}{ERASE_BELOW}\r{up}")

    def _colored(self, line: str, spinner: str) -> str:
        if not self._color:
            return line
        line = line.replace(spinner, f"{CYAN}{spinner}{RESET}", 1)
        if FULL in line:
            line = f"{CYAN}{FULL}".join(line.split(FULL, 1))
            line = f"{FULL}{RESET}".join(line.rsplit(FULL, 1))
        return line

    def _erase(self) -> None:
        if self._shown:
            self._shown = False
            output.error_write(f"\r{ERASE_BELOW}")

    def clear(self) -> None:
        """See `Progress`."""
        if self._lock is not None:
            with self._lock:
                self._erase()

    def finish(self) -> None:
        """See `Progress`."""
        if self._thread is not None and self._stop is not None:
            self._stop.set()
            self._thread.join(PATIENCE)
