"""The name servers that this host uses, from resolv.conf(5)."""

import os
from ipaddress import ip_address

PATH = "/etc/resolv.conf"
SERVERS_MAX = 3  # as the C library


class Resolvers:
    """The servers in a file, which is read again when it has changed."""

    def __init__(self, path: str = PATH, port: int = 53) -> None:
        self._path = path
        self._port = port
        self._seen: tuple[int, int, int] | None = None
        self._servers: tuple[tuple[str, int], ...] = ()

    def servers(self) -> tuple[tuple[str, int], ...]:
        """Address and port of each; without any, the host's own server, which resolv.conf(5) then means."""
        try:
            status = os.stat(self._path)
            seen = (status.st_ino, status.st_mtime_ns, status.st_size)
            if seen != self._seen:
                with open(self._path, encoding="utf-8", errors="replace") as file:
                    self._servers = tuple((address, self._port) for address in parse(file.read()))
                self._seen = seen
        except OSError:
            self._servers, self._seen = (), None
        return self._servers or (("127.0.0.1", self._port),)


def parse(text: str) -> list[str]:
    """The addresses after `nameserver`, at most SERVERS_MAX; others are skipped."""
    found: list[str] = []
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver" and _is_address(words[1]) and words[1] not in found:
            found.append(words[1])
    return found[:SERVERS_MAX]


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
