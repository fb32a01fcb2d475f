"""Published ports: what the relay costs against socat. Without a VM: the container is a process on a bridge."""

import asyncio
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

from support import netlab
from support.system import System

from benchmarks.measure import Result
from container.linux.netns import Namespace
from container.linux.ports import bind_ports
from container.linux.relay import start_relay
from container.model.port import PublishPort

CONTAINER, PORT, SOCAT_PORT, SIZE = "10.77.0.2", 7100, 7101, 1 << 30
SERVER = f"""
import socket
block = bytes(1 << 18)
with socket.create_server(({CONTAINER!r}, {PORT})) as listener:
    print("ready", flush=True)
    while True:
        sock, _ = listener.accept()
        try:
            for _ in range({SIZE} // len(block)):
                sock.sendall(block)
        except OSError:
            pass
        sock.close()
"""
FETCH = """
import socket, sys
buffer, size = bytearray(1 << 20), 0
with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as sock:
    while got := sock.recv_into(buffer):
        size += got
print(size)
"""


def _fetch(port: int) -> None:
    command = [sys.executable, "-c", FETCH, "127.0.0.1", str(port)]
    assert int(subprocess.check_output(command)) == SIZE


def _relay_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _socat_seconds(namespace: Namespace) -> float:
    """Processor time of socat for SIZE bytes, inside the namespace from loopback to the server."""
    listen, target = f"TCP-LISTEN:{SOCAT_PORT},bind=127.0.0.1,reuseaddr", f"TCP:{CONTAINER}:{PORT}"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with netlab.popen(namespace, "socat", "-b", "262144", listen, target) as socat:
        time.sleep(0.3)
        fetch = netlab.popen(namespace, sys.executable, "-c", FETCH, "127.0.0.1", str(SOCAT_PORT), stdout=-1)
        client = os.wait4(fetch.pid, 0)[2]
        fetch.returncode = 0
        assert fetch.stdout is not None
        fetch.stdout.close()
        socat.wait(10)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    both = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return both - client.ru_utime - client.ru_stime


async def _measure() -> list[Result]:
    async with netlab.bridged_namespace() as namespace:
        with (
            netlab.veth_guest(namespace, "guest0", f"{CONTAINER}/24", netlab.GATEWAY) as guest,
            netlab.popen(guest, sys.executable, "-c", SERVER, stdout=-1) as server,
        ):
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
            try:
                return await _compare(namespace)
            finally:
                server.kill()


async def _compare(namespace: Namespace) -> list[Result]:
    bound = bind_ports([PublishPort("127.0.0.1", 0, PORT)])
    port = bound.sockets[0][0].getsockname()[1]
    relay_cpu, socat_cpu = [], []
    target = {"ipv4": CONTAINER, "ipv6": None, "netns": namespace.netns, "userns": namespace.userns}
    async with start_relay(bound, **target) as relay:  # type: ignore[arg-type]
        assert relay.pid is not None
        for _ in range(3):
            before = _relay_seconds(relay.pid)
            await asyncio.to_thread(_fetch, port)
            relay_cpu.append(_relay_seconds(relay.pid) - before)
            socat_cpu.append(await asyncio.to_thread(_socat_seconds, namespace))
    cost, socat = min(relay_cpu), min(socat_cpu)
    return [
        Result("processor time of the port relay per GB, against socat", cost / socat, 1.0,
               detail=f"{cost:.2f} s against {socat:.2f} s"),
    ]  # fmt: skip


def measure(system: System) -> list[Result]:
    """Without a VM: the container is a process behind a veth pair on the network's bridge."""
    return asyncio.run(_measure())
