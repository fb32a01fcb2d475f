"""Names: answers a second of a network's name server, with its helper as it is in use."""

import asyncio
import subprocess
import sys

from support import nethelper, netlab
from support.system import System

from benchmarks.measure import Result

ASK = """
import socket, sys, time
names, width, rounds = sys.argv[1].split(","), 32, 300
head, tail = b"ab\\1\\0\\0\\1" + bytes(6), b"\\0\\0\\1\\0\\1"
queries = [head + bytes((len(name),)) + name.encode() + tail for name in names]
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    sock.connect(("192.168.64.1", 53))
    sock.settimeout(5)
    began = time.perf_counter()
    for round in range(rounds):
        for number in range(width):
            sock.send(queries[(round + number) % len(queries)])
        for _ in range(width):
            assert sock.recv(512)[7] == 1
    print(rounds * width / (time.perf_counter() - began))
"""


async def _measure() -> float:
    with nethelper.host(None) as helper:
        await helper.start()
        async with helper.attached("one"), helper.attached("two") as lease:
            with helper.guest(lease) as guest:
                rates = [float(netlab.output(guest, sys.executable, "-c", ASK, "one,two")) for _ in range(3)]
        await helper.stop()
    return max(rates)


def measure(system: System) -> list[Result]:
    """From a guest without a VM, through the bridge and the rules; needs root."""
    assert subprocess.run(["id", "-u"], capture_output=True, text=True, check=True).stdout == "0\n"
    rate = asyncio.run(_measure())
    return [Result("answers a second for local names", rate, 3000, "1/s", at_least=True)]
