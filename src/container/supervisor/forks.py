"""The supervisor's side of its fork servers: one for each module, made when its first service has been started."""

import json
import logging
import os
import socket
import sys
from collections.abc import Mapping

from container.linux import fd as descriptors
from container.linux.process import spawn
from container.log import fields
from container.model.job import Job
from container.supervisor import forkserver

_ANSWER_SECONDS = 2.0
_FAILURES_MAX = 3  # of one module's server; then each service is started by itself
_log = logging.getLogger(__name__)


class Forks:
    """Starts services as forks. Blocks for milliseconds, as spawning does."""

    def __init__(self) -> None:
        self._servers: dict[str, socket.socket] = {}
        self._ready: set[str] = set()
        self._failures: dict[str, int] = {}

    def start(self, job: Job, environment: Mapping[str, str], fds: Mapping[int, int]) -> int | None:
        """Pid of the job's service, a child of this process that leads a session of its own.

        None when its module has no server that is ready: the caller starts it by itself, and the next one may find one.
        """
        if job.module is None or job.program != sys.executable:
            return None
        server = self._servers.get(job.module)
        try:
            if server is None:
                self._launch(job.module, environment)
                return None
            if job.module not in self._ready:
                if not json.loads(server.recv(forkserver.MESSAGE_MAX, socket.MSG_DONTWAIT)).get("ready"):
                    raise OSError(0, "it does not get ready")
                self._ready.add(job.module)
            return self._ask(server, job, environment, fds)
        except BlockingIOError:
            return None
        except (OSError, ValueError) as error:
            _log.warning("a fork server failed: %s", error, extra=fields(module=job.module))
            self._failures[job.module] = self._failures.get(job.module, 0) + 1
            self._drop(job.module)
            return None

    def close(self) -> None:
        """End all servers: they end when nobody holds the other end."""
        for module in list(self._servers):
            self._drop(module)

    def _launch(self, module: str, environment: Mapping[str, str]) -> None:
        if self._failures.get(module, 0) >= _FAILURES_MAX:
            return
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(_ANSWER_SECONDS)
        with theirs, open(os.devnull, "rb") as null:
            self._servers[module] = ours
            ours.send(json.dumps({"module": module}).encode())
            spawn(
                [sys.executable, "-P", "-m", "container.supervisor.forkserver", forkserver.ROOM],
                {key: value for key, value in environment.items() if not key.startswith("LISTEN_")},
                fds={0: null.fileno(), 1: 2, 2: 2, forkserver.CHANNEL: theirs.fileno()},
            )

    def _ask(
        self, server: socket.socket, job: Job, environment: Mapping[str, str], fds: Mapping[int, int]
    ) -> int | None:
        assert job.module is not None
        request = {
            "words": [job.program, *job.arguments],
            "arguments": job.arguments[job.arguments.index(job.module) + 1 :],
            "environment": dict(environment),
            "fds": list(fds),
        }
        descriptors.send(server, memoryview(json.dumps(request).encode()), list(fds.values()))
        answer = json.loads(server.recv(forkserver.MESSAGE_MAX))
        if "pid" in answer:
            return int(answer["pid"])
        self._drop(job.module)  # its code is out of date
        self._launch(job.module, environment)
        return None

    def _drop(self, module: str) -> None:
        self._ready.discard(module)
        server = self._servers.pop(module, None)
        if server is not None:
            server.close()
