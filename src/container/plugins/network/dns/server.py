"""The name server on a network's gateway: its own names at once, everything else by the host's name servers."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable

from container.plugins.network.dns.forward import Forwarder
from container.plugins.network.dns.wire import FORMERR, REFUSED, cut, failure
from container.plugins.network.dns.zone import Zone

QUERY_MAX = 4096  # bytes
FORWARDS_MAX, FORWARDS_PER_CLIENT = 256, 64  # at once
CONNECTIONS_MAX, CONNECTIONS_PER_CLIENT = 128, 16
IDLE_TIMEOUT = 10.0  # seconds that a TCP connection may be silent
_BATCH = 64  # datagrams before other work has its turn
_CACHE_MAX, _CACHED_QUERY_MAX = 4096, 512
_PEERS_MAX = 4096
_log = logging.getLogger(__name__)
Address = tuple[str, int] | tuple[str, int, int, int]


class NameServer:
    """Answers on the sockets that it is given, to clients that `serves` says yes to.

    A response to a query for a local name depends on nothing but the query and the names: it is kept, and the next
    client with the same question gets the same bytes under its own id.
    """

    def __init__(self, zone: Zone, *, serves: Callable[[str], bool], forwarder: Forwarder | None) -> None:
        """Without a forwarder, what the zone leaves to others does not exist."""
        self._zone = zone
        self._serves = serves
        self._forwarder = forwarder
        self._cache: dict[tuple[bool, bytes], bytes] = {}
        self._peers: dict[str, bool] = {}
        self._forwards: dict[str, int] = {}
        self._connections: dict[str, int] = {}
        self._group: asyncio.TaskGroup | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._sockets: list[socket.socket] = []

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serve the sockets that `listen` gets until the context is left."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                yield
            finally:
                self._close()

    def changed(self) -> None:
        """To be called when the zone's names have changed."""
        self._cache.clear()

    def listen(self, datagrams: Iterable[socket.socket], listeners: Iterable[socket.socket]) -> None:
        """Take over sockets that do not block: UDP, and listening TCP ones. Only while it is running."""
        import container.plugins.network.dns.local  # noqa: F401 (dnspython: once, before the first query)

        loop = asyncio.get_running_loop()
        for sock in datagrams:
            self._sockets.append(sock)
            loop.add_reader(sock, self._receive, sock)
        for sock in listeners:
            self._sockets.append(sock)
            loop.add_reader(sock, self._accept, sock)

    @property
    def listening(self) -> bool:
        """Whether it has sockets."""
        return bool(self._sockets)

    def _close(self) -> None:
        loop = asyncio.get_running_loop()
        for sock in self._sockets:
            loop.remove_reader(sock)
            sock.close()
        self._sockets.clear()
        for task in self._tasks:
            task.cancel()

    # --- UDP ---------------------------------------------------------------------------------------------------------

    def _receive(self, sock: socket.socket) -> None:
        for _ in range(_BATCH):
            try:
                query, peer = sock.recvfrom(QUERY_MAX + 1)
            except OSError:  # nothing more, or an error that an earlier answer met
                return
            if not self._knows(peer[0]) or len(query) > QUERY_MAX:
                continue
            response = self._cache.get((False, query[2:]))
            if response is not None:
                _send(sock, query[:2] + response, peer)
            else:
                self._answer(sock, query, peer)

    def _answer(self, sock: socket.socket, query: bytes, peer: Address) -> None:
        response, limit = self._local(query, tcp=False)
        if response is not None:
            if response:
                _send(sock, response, peer)
        elif not self._begin_forward(peer[0]):
            _send(sock, failure(query, REFUSED), peer)
        else:
            self._spawn(self._forward_datagram(sock, query, peer, limit))

    async def _forward_datagram(self, sock: socket.socket, query: bytes, peer: Address, limit: int) -> None:
        response = await self._forward(query, peer[0], tcp=False)
        if len(response) > limit:
            response = cut(response)
        if sock.fileno() >= 0:
            _send(sock, response, peer)

    # --- TCP ---------------------------------------------------------------------------------------------------------

    def _accept(self, listener: socket.socket) -> None:
        try:
            sock, peer = listener.accept()
        except OSError:
            return
        client, open_ = peer[0], self._connections
        full = sum(open_.values()) >= CONNECTIONS_MAX or open_.get(client, 0) >= CONNECTIONS_PER_CLIENT
        if full or not self._knows(client):
            sock.close()
        else:
            sock.setblocking(False)
            open_[client] = open_.get(client, 0) + 1
            self._spawn(self._converse(sock, client))

    async def _converse(self, sock: socket.socket, client: str) -> None:
        """Answer the queries of one connection, one after the other (RFC 7766)."""
        try:
            reader, writer = await asyncio.open_connection(sock=sock)
            try:
                await self._queries(reader, writer, client)
            finally:
                writer.close()
        except (OSError, EOFError):
            pass
        finally:
            _count_down(self._connections, client)

    async def _queries(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, client: str) -> None:
        while True:
            async with asyncio.timeout(IDLE_TIMEOUT):
                length = int.from_bytes(await reader.readexactly(2), "big")
                if length > QUERY_MAX:
                    return
                query = await reader.readexactly(length)
            response = self._cache.get((True, query[2:]))
            if response is not None:
                response = query[:2] + response
            else:
                response, _ = self._local(query, tcp=True)
            if response is None:
                response = (
                    await self._forward(query, client, tcp=True)
                    if self._begin_forward(client)
                    else failure(query, REFUSED)
                )
            if not response:
                return
            async with asyncio.timeout(IDLE_TIMEOUT):
                writer.write(len(response).to_bytes(2, "big") + response)
                await writer.drain()

    # --- answers -----------------------------------------------------------------------------------------------------

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        assert self._group is not None
        task = self._group.create_task(_contained(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _knows(self, address: str) -> bool:
        known = self._peers.get(address)
        if known is None:
            if len(self._peers) >= _PEERS_MAX:
                self._peers.clear()
            known = self._peers[address] = self._serves(address)
        return known

    def _local(self, query: bytes, *, tcp: bool) -> tuple[bytes | None, int]:
        """The response, empty when none is due, None when others must be asked; and the size that it may have."""
        from container.plugins.network.dns import local

        response, limit = local.respond(self._zone, query, tcp=tcp, recursive=self._forwarder is not None)
        if response is local.Elsewhere.DROP:
            return b"", limit
        if isinstance(response, local.Elsewhere):
            return None, limit
        if len(query) <= _CACHED_QUERY_MAX:
            if len(self._cache) >= _CACHE_MAX:
                self._cache.clear()
            self._cache[tcp, query[2:]] = response[2:]
        return response, limit

    def _begin_forward(self, client: str) -> bool:
        """Whether one more query of this client may be passed on; if so, `_forward` ends it."""
        mine = self._forwards.get(client, 0)
        if mine >= FORWARDS_PER_CLIENT or sum(self._forwards.values()) >= FORWARDS_MAX:
            return False
        self._forwards[client] = mine + 1
        return True

    async def _forward(self, query: bytes, client: str, *, tcp: bool) -> bytes:
        assert self._forwarder is not None
        try:
            return await self._forwarder.ask(query, tcp=tcp)
        except ValueError:  # a question that no client of ours would write
            return failure(query, FORMERR)
        finally:
            _count_down(self._forwards, client)


async def _contained(work: Coroutine[None, None, None]) -> None:
    """One query must not end the server."""
    try:
        await work
    except Exception:
        _log.exception("a DNS query failed")


def _send(sock: socket.socket, response: bytes, peer: Address) -> None:
    """Without waiting: what does not fit is lost, and the client asks again."""
    with contextlib.suppress(OSError):
        sock.sendto(response, peer)


def _count_down(counts: dict[str, int], key: str) -> None:
    counts[key] -= 1
    if counts[key] == 0:
        del counts[key]
