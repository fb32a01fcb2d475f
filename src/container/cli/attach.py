"""What `run`, `start -a` and `exec` share: a process that works on this CLI's own standard streams.

The descriptors travel with the call and the runtime relays them; here the terminal is made raw, signals and window
sizes are passed on, and the exit code is waited for.
"""

from __future__ import annotations

import os
import signal

from container.cli import client, failures, leave, logger, output, terminal
from container.errors import ContainerError, ErrorCode, ServiceLost, invalid_argument, os_reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType
    from typing import Any

    from container.cli.progress import Progress

FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH)
PATIENCE = 3  # the SIGINT or SIGTERM that ends the CLI itself
FORCED = f"Received {PATIENCE} SIGINT/SIGTERM's, forcefully exiting."
PIPE_PATIENCE = 5  # seconds for a process to end once nobody reads its output
SIGNAL_TIMEOUT = 10.0
SSH_VARIABLE = "SSH_AUTH_SOCK"


class Session:
    """The streams and the terminal that one process is attached to.

    `attached` False leaves out all streams, for a process in the background. Raises ContainerError(invalidArgument)
    when a terminal is to be typed into and standard input is none (as docker does).
    """

    def __init__(self, id: str, *, tty: bool, interactive: bool, attached: bool = True) -> None:
        self.id = id
        self.process = id
        self.attached = attached
        self._tty = tty
        self._interactive = interactive
        self._strikes = 0
        self._released = self._begun = False
        self._attachment: client.Attachment | None = None
        self._handlers: dict[int, Any] = {}
        self._terminal = terminal.Terminal(0)
        self._blocking = terminal.Blocking() if attached else terminal.Blocking(())
        if attached and tty and interactive and not os.isatty(0):
            raise invalid_argument("cannot give the process a terminal: the input device is not a TTY; leave out --tty")

    def _streams(self) -> tuple[list[int], dict[str, int]]:
        """Descriptors to send, and the parameters that name them by index."""
        wanted = {"stdin": (0, self._interactive), "stdout": (1, True), "stderr": (2, not self._tty)}
        chosen = [(name, fd) for name, (fd, asked) in wanted.items() if self.attached and asked]
        return [fd for _, fd in chosen], {name: index for index, (name, _) in enumerate(chosen)}

    def follow(
        self, method: str, parameters: dict[str, Any], progress: Progress, on_started: Callable[[], None] | None = None
    ) -> int:
        """Call `Start` or `Exec` and work off its events; the exit code, 0 when nobody waits for one.

        `on_started` is called once the process runs. Raises ContainerError, and Exit at the third SIGINT or SIGTERM.
        """
        code: int | None = None if self.attached else 0
        try:
            for reply in self._events(method, parameters):
                event = reply["event"]
                if event.get("progress"):
                    progress.update(event["progress"])
                if event.get("notice"):
                    progress.clear()
                    logger.warning(event["notice"])
                if (event.get("ready") or event.get("started")) and not self._released:
                    progress.finish()
                    self._release()
                if event.get("started") and not self._begun:
                    self._begin(event.get("process") or self.id)
                    if on_started is not None:
                        on_started()
                if event.get("exitCode") is not None:
                    code = int(event["exitCode"])
                    if event.get("reason"):
                        output.error_line(f"Error: {event['reason']}")
        finally:
            self._end()
        if code is None:
            raise self._lost("the service ended before it did")
        return code

    def _lost(self, why: str) -> ContainerError:
        return ContainerError(ErrorCode.INTERRUPTED, f"lost the process of container {self.id}: {why}")

    def _events(self, method: str, parameters: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The replies of the call; those of the runtime helper itself from when the API server went away."""
        fds, streams = self._streams()
        call = {"id": self.id, "wait": self.attached, **parameters, **streams}
        if not self.attached:
            yield from client.stream(method, call, fds)
            return
        with client.Attachment() as self._attachment:
            attachment = self._attachment
            try:
                call["attachment"] = len(fds)
                yield from client.stream(method, call, [*fds, attachment.theirs])
            except ServiceLost as lost:
                logger.debug("lost the API server, the process may go on", error=lost.describe(), id=self.id)
                yield from self._go_on(attachment.replies(method), lost)

    def _go_on(self, replies: Iterator[dict[str, Any]], lost: ServiceLost) -> Iterator[dict[str, Any]]:
        """The replies of the runtime helper; then the container is waited for, which `--rm` may have to remove."""
        failure: ContainerError | None = None
        try:
            yield from replies
        except ServiceLost:
            failure = self._lost("its runtime helper ended before it did") if self._begun else lost
        except ContainerError as error:
            failure = error
        if self._begun and self.process == self.id:
            self._quietly("Containers.Wait", client.CALL_TIMEOUT)
        if failure is not None:
            raise failure

    def _release(self) -> None:
        """Prepare the terminal, to which nothing of the process has come yet, and let the streams flow."""
        self._released = True
        if not self.attached:
            return
        if self._tty and self._interactive:
            self._handle(signal.SIGCONT, self._resume)
            self._terminal.enter_raw()
        self._handle(signal.SIGALRM, leave.broken_pipe)
        self._handle(signal.SIGPIPE, self._unread)
        leave.watch_output()
        if self._attachment is not None:
            self._attachment.release()

    def _begin(self, process: str) -> None:
        self._begun = True
        self.process = process
        if not self.attached:
            return
        for number in FORWARDED:
            self._handle(number, self._forward)
        if self._tty:
            self._resize()

    def _handle(self, number: int, handler: Callable[[int, FrameType | None], None]) -> None:
        self._handlers.setdefault(number, signal.signal(number, handler))

    def _end(self) -> None:
        self._terminal.restore()
        self._blocking.restore()
        signal.alarm(0)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers.clear()

    def _forward(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGWINCH and self._tty:
            self._resize()
            return
        if number in (signal.SIGINT, signal.SIGTERM) and not self._tty:
            self._strikes += 1
            if self._strikes >= PATIENCE:
                output.error_line(FORCED)
                raise failures.Exit(1)
        self._quietly("Containers.Signal", process=self.process, signal=str(number))

    def _unread(self, number: int, frame: FrameType | None) -> None:
        """Nobody reads the output any more: the runtime helper ends the process; one that goes on is left."""
        signal.alarm(PIPE_PATIENCE)

    def _resume(self, number: int, frame: FrameType | None) -> None:
        self._terminal.enter_raw()
        self._resize()

    def _resize(self) -> None:
        size = terminal.window_size()
        if size is not None:
            self._quietly("Containers.Resize", process=self.process, size=size)

    def _quietly(self, method: str, timeout: float = SIGNAL_TIMEOUT, **parameters: Any) -> None:
        """A call whose failure changes nothing: the process may be gone, its exit code tells."""
        try:
            client.call(method, {"id": self.id, **parameters}, timeout=timeout)
        except ContainerError as error:
            logger.debug(f"{method} failed", error=error.describe(), id=self.id)


def start(session: Session, progress: Progress, on_started: Callable[[], None] | None = None) -> int:
    """Start a container's init process in `session`; its exit code."""
    agent = os.environ.get(SSH_VARIABLE)
    environment = {SSH_VARIABLE: os.path.abspath(agent)} if agent else None
    notices = True if progress.shows and os.isatty(2) else None  # not in what scripts collect
    return session.follow("Containers.Start", {"environment": environment, "notices": notices}, progress, on_started)


def create(request: dict[str, Any], progress: Progress) -> str:
    """Create a container; its id. Raises ContainerError."""
    id = ""
    try:
        for reply in client.stream("Containers.Create", {"request": request}):
            event = reply["event"]
            if event.get("progress"):
                progress.update(event["progress"])
            for name in event.get("volumes") or ():
                progress.clear()
                logger.warning("named volume was automatically created", volume=name)
            id = event.get("id") or id
    except ContainerError as error:
        if error.code is ErrorCode.EXISTS and request.get("id"):
            hint = f"choose another --name, or delete it: container delete {request['id']}"
            raise ContainerError(error.code, f"container with id {request['id']} already exists; {hint}") from error
        raise
    return id


def discard(id: str) -> None:
    """Remove a container that its command failed to bring about."""
    try:
        client.call("Containers.Delete", {"id": id, "force": True})
    except ContainerError as error:
        logger.debug("failed to delete the container", error=error.describe(), id=id)


def write_cidfile(path: str | None, id: str) -> None:
    """Write the id without a newline, if a path is given. Raises ContainerError."""
    if path is None:
        return
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        with open(fd, "w") as file:
            file.write(id)
    except OSError as error:
        raise ContainerError(ErrorCode.INTERNAL, f"failed to create cidfile at {path}: {os_reason(error)}") from error
