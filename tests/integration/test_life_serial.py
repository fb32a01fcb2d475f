"""Many containers, crashes of every process, and nothing left behind."""

import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.system import System, settle

pytestmark = [pytest.mark.vm, pytest.mark.timeout(600)]
SMALL = ("-m", "256m", "-c", "1")
SERVER = "while :; do echo -e 'HTTP/1.0 200 OK\\r\\n\\r\\nhello from '$(hostname) | nc -l -p 80; done"


def _traces(system: System) -> dict[str, set[str]]:
    """Everything of this system that could be left: processes, namespaces' owners, sockets, mounts, bundles."""
    run, app = Path(system.environment["CONTAINER_RUN_ROOT"]), Path(system.environment["CONTAINER_APP_ROOT"])
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout.splitlines()
    namespaces = {os.readlink(f"/proc/{pid}/ns/net") for pid in system.processes()}
    return {
        "processes": {" ".join(words[:4]) for words in system.processes().values()},
        "namespaces": namespaces,
        "links": {line.split(": ")[1] for line in links},
        "sockets": {str(path) for path in run.rglob("*")},
        "mounts": {line for line in Path("/proc/mounts").read_text().splitlines() if str(system.base) in line},
        "bundles": {str(path) for path in (app / "containers").glob("*")},
    }


def test_ten_containers_at_once_and_nothing_left(system: System) -> None:
    system.run("run", "--rm", *SMALL, "busybox", "true")
    before = _traces(system)
    names = [f"ten-{number}" for number in range(10)]
    starting = [
        system.popen(
            "run",
            "-d",
            "--name",
            name,
            "-m",
            "200m",
            "-c",
            "1",
            "busybox",
            "sleep",
            "100000",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in names
    ]
    for process in starting:
        error = process.communicate(timeout=400)[1]
        assert process.returncode == 0, error
    boot_ids = {system.output("exec", name, "cat", "/proc/sys/kernel/random/boot_id") for name in names}
    addresses = {system.inspect(name)["status"]["networks"][0]["ipv4Address"] for name in names}
    assert len(boot_ids) == len(addresses) == 10
    assert len(system.output("list", "-q").split()) >= 10
    system.run("delete", "-f", *names, timeout=200)
    after = settle(lambda: _traces(system), lambda traces: traces == before, 20)
    assert after == before


@pytest.fixture(scope="module")
def web(system: System) -> Iterator[tuple[str, int]]:
    """A container that answers HTTP through a published port."""
    port = 18080 + os.getpid() % 1000
    system.run("run", "-d", "--name", "web", "-p", f"127.0.0.1:{port}:80", *SMALL, "busybox", "sh", "-c", SERVER)
    yield "web", port
    system.run("delete", "-f", "web")


def _answers(port: int, timeout: float = 30) -> bool:
    def ask() -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
                return str(answer.read().decode())
        except OSError as error:
            return f"error: {error}"

    return settle(ask, lambda text: text.startswith("hello from web"), timeout).startswith("hello from web")


def test_a_published_port_answers(web: tuple[str, int]) -> None:
    assert _answers(web[1])


@pytest.mark.parametrize("victim", ["apiserver", "images", "network"])
def test_a_killed_service_comes_back_and_containers_never_notice(
    system: System, web: tuple[str, int], victim: str
) -> None:
    name, port = web
    system.run("image", "list")  # starts the image helper, which starts on demand
    boot_id = system.output("exec", name, "cat", "/proc/sys/kernel/random/boot_id")
    os.kill(system.services()[victim], signal.SIGKILL)
    assert _answers(port)
    began = time.monotonic()
    assert "busybox" in system.output("image", "list", "-q", timeout=30)
    assert name in system.output("list", "-q", timeout=30)
    assert time.monotonic() - began < 5
    assert system.output("exec", name, "cat", "/proc/sys/kernel/random/boot_id") == boot_id
    assert system.output("run", "--rm", *SMALL, "busybox", "echo", "usable") == "usable"
    assert _answers(port)


@pytest.mark.parametrize("victim", ["helper", "qemu"])
def test_a_killed_machine_stops_one_container_with_a_reason(system: System, box: str, victim: str) -> None:
    system.run("run", "-d", "--name", "doomed", *SMALL, "busybox", "sleep", "100000")
    helper = system.services()["runtime.doomed"]
    children = Path(f"/proc/{helper}/task/{helper}/children").read_text().split()
    qemu = next(pid for pid in children if b"qemu" in Path(f"/proc/{pid}/cmdline").read_bytes())
    os.kill(helper if victim == "helper" else int(qemu), signal.SIGKILL)
    assert settle(lambda: system.state("doomed"), lambda state: state == "stopped", 10) == "stopped"
    assert system.inspect("doomed")["status"]["reason"]
    assert settle(lambda: Path(f"/proc/{qemu}").exists(), lambda alive: not alive, 5) is False
    assert system.state(box) == "running"
    assert system.output("exec", box, "echo", "fine") == "fine"
    system.run("start", "doomed")
    assert system.state("doomed") == "running"
    system.run("delete", "-f", "doomed")
