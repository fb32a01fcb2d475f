"""Real software from Debian packages: nginx through a published port, redis, python3."""

import os
import urllib.request

import pytest
from support import images
from support.system import System, settle

pytestmark = [pytest.mark.vm, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def nginx(debian_system: System) -> object:
    """Port of a running nginx."""
    port = 17080 + os.getpid() % 1000
    debian_system.run("run", "-d", "--name", "nginx", "-c", "1", "-m", "512m", "-p", f"{port}:80", "nginx:debian")
    yield port
    debian_system.run("delete", "-f", "nginx")


def test_nginx_serves_its_page_through_a_published_port(nginx: int) -> None:
    def ask() -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{nginx}/", timeout=10) as answer:
                return str(answer.read().decode())
        except OSError as error:
            return f"error: {error}"

    assert settle(ask, lambda text: not text.startswith("error"), 30) == images.NGINX_PAGE


def test_stop_sends_the_image_stop_signal(debian_system: System, nginx: int) -> None:
    assert debian_system.inspect("nginx")["configuration"]["stopSignal"] == "SIGQUIT"
    debian_system.run("stop", "-t", "20", "nginx")
    assert debian_system.inspect("nginx")["status"]["exitCode"] == 0
    debian_system.run("start", "nginx")


def test_redis_and_python_run_in_the_same_container(debian_system: System, nginx: int) -> None:
    script = "redis-server --daemonize yes >/dev/null; sleep 2; redis-cli set k v; redis-cli get k"
    assert debian_system.output("exec", "nginx", "sh", "-c", script).split() == ["OK", "v"]
    assert debian_system.output("exec", "nginx", "python3", "-c", "print(6 * 7)") == "42"
