"""Passes queries on to the host's name servers, and believes only answers that an onlooker could not have made up."""

import asyncio
import contextlib
import logging
import secrets
import socket

from container.plugins.network.dns.resolvers import Resolvers
from container.plugins.network.dns.wire import HEADER_BYTES, REFUSED, SERVFAIL, failure, question_end

ATTEMPT_TIMEOUT, TOTAL_TIMEOUT = 2.0, 9.0  # seconds for one server, and for all
CONFIRM_TIMEOUT, PLAIN_TIME = 1.0, 300.0  # seconds to wait for TCP, and for which there is held to be none
ROUNDS = 2
_RESPONSE_MAX = 65535
_LETTER = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_log = logging.getLogger(__name__)


class Forwarder:
    """Asks one server after the other, the one that answered last first; each query from a fresh port."""

    def __init__(self, resolvers: Resolvers) -> None:
        self._resolvers = resolvers
        self._preferred: tuple[str, int] | None = None
        self._plain: dict[tuple[str, int], float] = {}  # until when a server is held to have no TCP

    async def ask(self, query: bytes, *, tcp: bool) -> bytes:
        """The response to a well-formed query with one question, SERVFAIL when no server gives one."""
        last = failure(query, SERVFAIL)
        try:
            async with asyncio.timeout(TOTAL_TIMEOUT):
                for server in self._order() * ROUNDS:
                    response = await self._attempt(server, query, tcp)
                    if response is None:
                        continue
                    last = response
                    if response[3] & 15 not in (SERVFAIL, REFUSED):
                        self._preferred = server
                        break
        except TimeoutError:
            pass
        return last

    def _order(self) -> list[tuple[str, int]]:
        servers = list(self._resolvers.servers())
        servers.sort(key=lambda server: server != self._preferred)
        return servers

    async def _attempt(self, server: tuple[str, int], query: bytes, tcp: bool) -> bytes | None:
        try:
            async with asyncio.timeout(ATTEMPT_TIMEOUT):
                if tcp:
                    with contextlib.suppress(ConnectionError):  # a server that does not do TCP
                        return await self._by_tcp(server, query)
                return await self._by_udp(server, query)
        except (OSError, EOFError) as error:  # TimeoutError is an OSError
            _log.debug("no answer from name server %s: %s", server[0], error or type(error).__name__)
            return None

    async def _by_udp(self, server: tuple[str, int], query: bytes) -> bytes:
        disguised = Disguise(query)
        loop = asyncio.get_running_loop()
        with socket.socket(_family(server), socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.setblocking(False)
            sock.connect(server)  # from here on only its datagrams come
            await loop.sock_sendall(sock, disguised.query)
            while True:
                response = await loop.sock_recv(sock, _RESPONSE_MAX)
                if disguised.matches(response):
                    return disguised.reveal(response)
                if disguised.matches(response, exact=False):  # it does not keep the case
                    return await self._confirmed(server, query, disguised.reveal(response))

    async def _confirmed(self, server: tuple[str, int], query: bytes, response: bytes) -> bytes:
        """What the server says by TCP, which is safe; without TCP `response`, which had the id and the port right."""
        now = asyncio.get_running_loop().time()
        if self._plain.get(server, now) <= now:
            try:
                async with asyncio.timeout(CONFIRM_TIMEOUT):
                    return await self._by_tcp(server, query)
            except (OSError, EOFError) as error:  # TimeoutError is an OSError
                _log.info("name server %s changes the case of letters and has no TCP: %s", server[0], error)
                self._plain[server] = now + PLAIN_TIME
        return response

    async def _by_tcp(self, server: tuple[str, int], query: bytes) -> bytes:
        disguised = Disguise(query)
        reader, writer = await asyncio.open_connection(*server)
        try:
            writer.write(len(query).to_bytes(2, "big") + disguised.query)
            await writer.drain()
            response = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
            if not disguised.matches(response, exact=False):
                raise EOFError("it answered another question")
            return disguised.reveal(response)
        finally:
            writer.close()


class Disguise:
    """A query under another id, with the case of its letters at random ("0x20"): only who saw it can answer it."""

    def __init__(self, query: bytes) -> None:
        self._original = query
        self._end = question_end(query)
        name_end = self._end - 4
        flips = secrets.randbits(8 * name_end)
        name = bytes(
            byte ^ 0x20 if byte in _LETTER and flips >> position & 1 else byte
            for position, byte in enumerate(query[HEADER_BYTES:name_end])
        )
        self.query = secrets.token_bytes(2) + query[2:HEADER_BYTES] + name + query[name_end:]

    def matches(self, response: bytes, exact: bool = True) -> bool:
        """Whether this is a response to the query, with the letters' case unless not `exact`."""
        sent, got = self.query[HEADER_BYTES : self._end], response[HEADER_BYTES : self._end]
        same = got == sent if exact else got[:-4].lower() == sent[:-4].lower() and got[-4:] == sent[-4:]
        return len(response) >= self._end and response[:2] == self.query[:2] and response[2] & 0xF8 == 0x80 and same

    def reveal(self, response: bytes) -> bytes:
        """The response as one to the original query."""
        question = self._original[HEADER_BYTES : self._end]
        return self._original[:2] + response[2:HEADER_BYTES] + question + response[self._end :]


def _family(server: tuple[str, int]) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in server[0] else socket.AF_INET
