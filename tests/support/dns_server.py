"""A name server of the outside for tests, by UDP and TCP: `dns_server.py ADDRESS [PORT]`; 0 is a port that it tells.

A name's first label says what it does.
big: more than fits a datagram; lower: forgets the case of letters; forged: first a wrong id and a wrong case, then the
answer; mute: nothing; refused: REFUSED; hangup: ends TCP connections; anything else: the address 10.1.2.3.
"""

import contextlib
import errno
import socket
import sys
import threading

import dns.flags
import dns.message
import dns.rcode
import dns.rrset


def answer(wire: bytes, tcp: bool) -> list[bytes]:
    query = dns.message.from_wire(wire)
    question = query.question[0]
    behaviour = question.name.labels[0].decode().lower()
    response = dns.message.make_response(query, recursion_available=True)
    response.answer.append(dns.rrset.from_text(question.name, 60, "IN", "A", "10.1.2.3"))
    if behaviour == "mute":
        return []
    if behaviour == "refused":
        response.answer.clear()
        response.set_rcode(dns.rcode.REFUSED)
    if behaviour == "big":
        texts = [f'"{number} {"x" * 200}"' for number in range(20)]
        response.answer = [dns.rrset.from_text(question.name, 60, "IN", "TXT", *texts)]
        if not tcp:
            response.answer.clear()
            response.flags |= dns.flags.TC
    wire = response.to_wire()
    if behaviour == "lower" or tcp:
        end = 12 + len(question.name.to_wire() or b"")
        wire = wire[:12] + wire[12:end].lower() + wire[end:]
    if behaviour == "forged":
        forged = wire.replace(bytes((10, 1, 2, 3)), bytes((6, 6, 6, 6)))
        wrong_id = bytes((forged[0] ^ 1,)) + forged[1:]
        wrong_name = forged[:13] + b"g" + forged[14:]
        return [wrong_id, wrong_name, b"", b"\0" * 11, wire]
    return [wire]


def serve_tcp(listener: socket.socket) -> None:
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=converse, args=(sock,), daemon=True).start()


def converse(sock: socket.socket) -> None:
    with contextlib.suppress(ConnectionError), sock, sock.makefile("rb") as stream:
        while len(length := stream.read(2)) == 2:
            for response in answer(stream.read(int.from_bytes(length, "big")), True):
                sock.sendall(len(response).to_bytes(2, "big") + response)


def bound_pair(address: str, port: int) -> tuple[socket.socket, socket.socket]:
    """A UDP socket and a listening TCP one at the same port, for 0 one of the kernel's choice."""
    while True:
        with contextlib.ExitStack() as stack:
            udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            udp.bind((address, port))
            try:
                tcp = stack.enter_context(socket.create_server(udp.getsockname()))
            except OSError as error:
                if port or error.errno != errno.EADDRINUSE:
                    raise
                continue
            stack.pop_all()
            return udp, tcp


def main() -> None:
    address, port = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 53
    udp, listener = bound_pair(address, port)
    threading.Thread(target=serve_tcp, args=(listener,), daemon=True).start()
    print(*(["ready"] if port else ["ready", udp.getsockname()[1]]), flush=True)
    while True:
        query, peer = udp.recvfrom(4096)
        for response in answer(query, False):
            udp.sendto(response, peer)


if __name__ == "__main__":
    main()
