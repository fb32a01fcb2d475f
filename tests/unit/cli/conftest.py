"""A system whose services are one thread with canned answers: for output shapes, errors and exit codes only."""

import array
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from container import paths

Handler = Callable[..., Any]


class Reject(Exception):
    """The server answers with this error: code, message, and a cause of the same form."""

    def __init__(self, code: str, message: str, cause: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.name = f"io.container.Error.{code[0].upper()}{code[1:]}"
        self.parameters = {"message": message, **({"cause": cause} if cause else {})}


class FakeSystem:
    """Sockets of all services in a run root; `answers` maps a method to its parameters, a list of them, or a function.

    A function gets the call's parameters and `fds`; what it yields or returns is sent. `calls` records what came.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.answers: dict[str, Any] = {}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(root / "home"),
            "LANG": "C.UTF-8",
            "CONTAINER_APP_ROOT": str(root / "app"),
            "CONTAINER_RUN_ROOT": str(root / "run"),
            "CONTAINER_INSTALL_ROOT": str(root / "install"),
            "CONTAINER_LOG_ROOT": str(root / "log"),
        }
        for name in ("home", "app", "run", "install", "log"):
            (root / name).mkdir(mode=0o700, exist_ok=True)
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def serve(self, *services: str) -> "FakeSystem":
        """Listen on the sockets of these services (default: API server and images)."""
        for service in services or (paths.APISERVER, paths.IMAGES):
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listener.bind(str(self.root / "run" / service))
            listener.listen()
            self._sockets.append(listener)
            self._start(self._accept, listener)
        return self

    def _start(self, target: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self._start(self._answer, connection)

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            data, fds = b"", array.array("i")
            while not data.endswith(b"\0"):
                chunk, control, _, _ = connection.recvmsg(65536, socket.CMSG_SPACE(16 * fds.itemsize))
                if not chunk:
                    return
                data += chunk
                for _, _, content in control:
                    fds.frombytes(content)
            message = json.loads(data[:-1])
            method = message["method"].removeprefix("io.container.")
            self.calls.append((method, message["parameters"]))
            try:
                self._reply(connection, method, message["parameters"], list(fds))
            except Reject as error:
                self._send(connection, {"error": error.name, "parameters": error.parameters})
            except OSError:
                return
            finally:
                for fd in fds:
                    os.close(fd)

    def _reply(self, connection: socket.socket, method: str, parameters: dict[str, Any], fds: list[int]) -> None:
        answer = self.answers.get(method, {})
        if callable(answer):
            answer = answer(parameters, fds)
        if isinstance(answer, dict):
            self._send(connection, {"parameters": answer})
            return
        held = None
        for item in answer:
            if held is not None:
                self._send(connection, {"parameters": held, "continues": True})
                held = None
            if item.get("now"):
                self._send(connection, {"parameters": item["now"], "continues": True})
            else:
                held = item
        self._send(connection, {"parameters": held or {}})

    @staticmethod
    def _send(connection: socket.socket, message: dict[str, Any]) -> None:
        connection.sendall(json.dumps(message).encode() + b"\0")

    def close(self) -> None:
        """Stop listening."""
        for listener in self._sockets:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def command(self, *words: str) -> list[str]:
        """The argv that runs the CLI."""
        return [sys.executable, "-m", "container.cli.main", *words]

    def install_plugin(self, name: str, abstract: str, script: str) -> Path:
        """A CLI plugin that the API server knows; its program."""
        folder = self.root / "install/libexec/container-plugins" / name
        program = folder / "bin" / name
        program.parent.mkdir(parents=True)
        (folder / "config.toml").write_text(f'abstract = "{abstract}"\n')
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        plugin = {"name": name, "abstract": abstract, "program": str(program)}
        self.answers["System.CLIPlugins"] = {"plugins": [plugin]}
        return program

    def run(self, *words: str, env: dict[str, str] | None = None, **options: Any) -> "subprocess.CompletedProcess[str]":
        """Run the CLI against this system."""
        options.setdefault("stdin", subprocess.DEVNULL)
        if "input" in options:
            del options["stdin"]
        environment = self.environment | (env or {})
        return subprocess.run(
            self.command(*words), env=environment, capture_output=True, text=True, timeout=30, check=False, **options
        )


@pytest.fixture
def offline(tmp_path: Path) -> FakeSystem:
    """A system without services."""
    return FakeSystem(tmp_path)


@pytest.fixture
def system(tmp_path: Path) -> Iterator[FakeSystem]:
    """A system whose API server and image service answer as told."""
    fake = FakeSystem(tmp_path).serve()
    yield fake
    fake.close()


def snapshot(id: str = "web", state: str = "running", **labels: str) -> dict[str, Any]:
    """A container as the API server sends it."""
    network = {"network": "default", "hostname": id, "ipv4Address": "192.168.64.2/24", "ipv4Gateway": "192.168.64.1"}
    status: dict[str, Any] = {"state": state, "networks": [network] if state == "running" else []}
    if state == "running":
        status["startedDate"] = "2026-03-01T09:00:02Z"
    return {
        "id": id,
        "configuration": {
            "id": id,
            "image": {"reference": "docker.io/library/nginx:1.29"},
            "platform": {"os": "linux", "architecture": "amd64"},
            "resources": {"cpus": 4, "memoryInBytes": 1 << 30, "cpuOverhead": 1},
            "initProcess": {"terminal": False},
            "labels": labels,
        },
        "status": status,
    }
