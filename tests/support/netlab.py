"""Networks of one's own for tests: namespaces with a bridge, guests on it, and what is left on the machine afterwards.

`CONTAINER_TEST_NATIVE=native/build/sanitize` runs the tests with the C programs built there.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from container.linux import native, netns
from container.linux.netns import Namespace

GATEWAY = "10.77.0.1"
if "CONTAINER_TEST_NATIVE" in os.environ:
    _built = os.path.abspath(os.environ["CONTAINER_TEST_NATIVE"])
    native.program = lambda name: os.path.join(_built, name)
GUEST_SERVER = Path(__file__).with_name("guest_server.py")


def require_namespaces(taps: bool = True) -> None:
    """Skip the test where this user cannot have network namespaces, with `taps` also those."""
    if not os.path.exists(native.program("container-netns")):
        pytest.skip("the C programs are not built: make -C native")
    if taps and not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        pytest.skip("/dev/net/tun is closed to this user: chmod 0666 /dev/net/tun")
    if os.geteuid() != 0 and subprocess.run(["unshare", "-Urn", "true"], capture_output=True).returncode != 0:
        pytest.skip("this user cannot have user namespaces")


@contextlib.asynccontextmanager
async def bridged_namespace(address: str = GATEWAY) -> AsyncIterator[Namespace]:
    """A namespace with the bridge br0, which has `address`/24 and the IPv6 address fd77::1/64."""
    made = netns.create(
        bridge="br0",
        mac="02:00:00:00:00:01",
        addresses=[f"{address}/24", "fd77::1/64"],
        sysctls=["net/ipv6/conf/br0/accept_dad=0"],
        name="netlab",
    )
    async with made as holder:
        pass
    try:
        with Namespace.of(holder.pid) as namespace:
            yield namespace
    finally:
        await holder.stop()
        holder.close()


def popen(namespace: Namespace, *argv: str, **options: object) -> "subprocess.Popen[str]":
    """A program inside a namespace."""
    command = [native.program("container-netns"), "exec", *namespace.options, *argv]
    return subprocess.Popen(command, pass_fds=namespace.descriptors, text=True, **options)  # type: ignore[call-overload,no-any-return]


@contextlib.contextmanager
def guest_server(namespace: Namespace, address: str = GATEWAY) -> Iterator[None]:
    """`guest_server.py` inside a namespace."""
    with popen(namespace, sys.executable, str(GUEST_SERVER), address, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield
        finally:
            process.kill()


@contextlib.contextmanager
def veth_guest(namespace: Namespace, name: str, address: str, gateway: str) -> Iterator[Namespace]:
    """A guest without a VM: a namespace of its own, on the bridge by a veth pair, with `address` (with prefix)."""
    command = ["unshare", "-n", "sh", "-c", "echo ready; exec sleep 600"]
    with popen(namespace, *command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            _ip(namespace, f"link add {name} type veth peer name eth0 netns {process.pid}")
            _ip(namespace, f"link set {name} master br0 up")
            with Namespace.of(process.pid) as guest:
                for line in ("link set lo up", "link set eth0 up mtu 1280", f"addr add {address} dev eth0"):
                    _ip(guest, line)
                _ip(guest, f"route add default via {gateway}")
                yield guest
        finally:
            process.kill()


def _ip(namespace: Namespace, line: str) -> None:
    with popen(namespace, "ip", *line.split()) as process:
        assert process.wait() == 0, line


_ASK = """
import sys, dns.message, dns.query, dns.rcode
server, name, kind, transport = sys.argv[1:]
answer = getattr(dns.query, transport)(dns.message.make_query(name, kind), server, timeout=20)
values = [str(item) for rrset in answer.answer for item in rrset]
print(" ".join(values) or dns.rcode.to_text(answer.rcode()))
"""


def ask(namespace: Namespace, server: str, name: str, kind: str = "A", transport: str = "udp") -> str:
    """What a name server says to a client inside a namespace: the values, or the response code when there are none."""
    return output(namespace, sys.executable, "-c", _ASK, server, name, kind, transport).removesuffix("\n")


def output(namespace: Namespace, *argv: str, timeout: float = 60) -> str:
    """What a program inside a namespace writes to standard output; it must succeed."""
    with popen(namespace, *argv, stdout=subprocess.PIPE) as process:
        try:
            text, _ = process.communicate(timeout=timeout)
        finally:
            process.kill()
    assert process.returncode == 0, f"{argv} ended with {process.returncode}"
    return str(text)
