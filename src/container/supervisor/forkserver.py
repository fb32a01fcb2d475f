"""A process that has a service's module imported, and whose forks are that service: it starts in 5 ms, not in 150.

The supervisor (`forks`) starts it with one end of a SOCK_SEQPACKET pair as descriptor 3. Each message is JSON:

    first           {"module": "a.b.main"}                        answer: {"ready": true} once it is imported
    then, each      {"words", "arguments", "environment", "fds"}  answer: {"pid": N}, or {"stale": true} and the end

`words` are what ps(1) shows, `arguments` become sys.argv[1:], `fds` are the numbers that the descriptors of the message
get. A fork is a child of the supervisor like any other service: the process between them ends at once, and the
supervisor is a subreaper. The server ends with the supervisor, and when a module that it imported changes on disk.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from types import ModuleType
from typing import Any, NoReturn

import container
from container.linux import fd as descriptors
from container.linux import process, title

CHANNEL = 3
MESSAGE_MAX = 1 << 17
ROOM = " " * 4096  # the last argument of the server: room for the command lines of its forks
LATER = "LATER"  # a module's list of what it imports only when it is under way


def main() -> int:
    """Serve until the supervisor hangs up."""
    supervisor = os.getppid()
    title.set_command_line([sys.executable, "-P", "-m", "container.supervisor.forkserver"])
    with socket.socket(fileno=CHANNEL) as channel:
        channel.set_inheritable(False)
        module = importlib.import_module(json.loads(channel.recv(MESSAGE_MAX))["module"])
        for name in getattr(module, LATER, ()):
            importlib.import_module(name)
        gc.collect()
        gc.freeze()  # what is there stays: a fork that looks for garbage shall not copy it
        imported = _imported()
        channel.send(b'{"ready": true}')
        while True:
            data, fds = descriptors.receive(channel, MESSAGE_MAX)
            if not data:
                return 0
            if imported != _imported(imported):
                channel.send(b'{"stale": true}')
                return 0
            try:
                _fork(channel, supervisor, module, json.loads(data), fds)
            finally:
                for fd in fds:
                    os.close(fd)


def _imported(known: dict[str, int] | None = None) -> dict[str, int]:
    """When the files of this program's modules were changed last, ns since the epoch; 0 for one that is gone."""
    root = os.path.dirname(container.__file__)
    if known is None:
        files = [getattr(module, "__file__", None) or "" for module in list(sys.modules.values())]
        known = dict.fromkeys((file for file in files if file.startswith(root)), 0)
    times = dict.fromkeys(known, 0)
    for file in times:
        with contextlib.suppress(OSError):
            times[file] = os.stat(file).st_mtime_ns
    return times


def _fork(channel: socket.socket, supervisor: int, module: ModuleType, request: dict[str, Any], fds: list[int]) -> None:
    """Fork twice and tell the pid; the fork goes on when it has its new parent and the supervisor knows of it."""
    told, telling = os.pipe2(os.O_CLOEXEC)
    waits, go = os.pipe2(os.O_CLOEXEC)
    between = os.fork()
    if between == 0:
        pid = os.fork()
        if pid != 0:
            os.write(telling, str(pid).encode())
            os._exit(0)
        os.close(go)
        if os.read(waits, 1):
            _serve(supervisor, module, request, fds)
        os._exit(127)
    try:
        os.waitpid(between, 0)
        channel.send(json.dumps({"pid": int(os.read(told, 32))}).encode())
        os.write(go, b"g")
    finally:
        for fd in (told, telling, waits, go):
            os.close(fd)


def _serve(supervisor: int, module: ModuleType, request: dict[str, Any], fds: list[int]) -> NoReturn:
    """Be the service, to its end."""
    code = 127
    try:
        process.settle(dict(zip(request["fds"], fds, strict=True)))
        process.die_with(supervisor, signal.SIGTERM)
        title.set_command_line(request["words"])
        os.environ.clear()
        os.environ.update(request["environment"], LISTEN_PID=str(os.getpid()))
        sys.argv = [module.__file__ or "", *request["arguments"]]
        code = _exit_code(module.main)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)  # without taking the interpreter apart first, which takes longer than all above


def _exit_code(service: Callable[[], object]) -> int:
    """What the process exits with, as the interpreter has it."""
    try:
        result = service()
    except SystemExit as leave:
        result = leave.code
    if result is None:
        return 0
    if isinstance(result, int):
        return result & 0xFF
    sys.stderr.write(f"{result}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
