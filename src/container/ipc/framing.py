"""Varlink messages of a byte stream: JSON objects that end in NUL, and the descriptors that came with them."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field

from container.errors import invalid_argument

MESSAGE_MAX = 16 * 1024 * 1024
DESCRIPTORS_MAX = 64


def close_all(fds: list[int]) -> None:
    """Close descriptors and forget them."""
    while fds:
        os.close(fds.pop())


@dataclass
class Message:
    """One message, without its NUL, and the descriptors that it brought; the receiver owns them."""

    data: bytes
    fds: list[int] = field(default_factory=list)

    def close(self) -> None:
        """Close the descriptors that nobody took."""
        close_all(self.fds)


class Framer:
    """Cuts a stream into messages; owns the descriptors of what is not delivered yet."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self._fds: list[int] = []

    def feed(self, data: bytes, fds: Iterable[int] = ()) -> list[Message]:
        """The messages that one recvmsg(2) completes; takes `fds` over.

        The kernel ends a read behind the data that descriptors were sent with, and a sender sends each message by its
        own: so they belong to the message that the read ends in.
        Raises ContainerError(invalid-argument) when the peer breaks a limit; close the connection then.
        """
        *complete, rest = data.split(b"\0")
        messages = []
        for part in complete:
            self._append(part)
            messages.append(Message(b"".join(self._parts), self._fds))
            self._parts, self._size, self._fds = [], 0, []
        owner = self._fds if rest or not messages else messages[-1].fds
        owner.extend(fds)
        if rest:
            self._append(rest)
        if len(owner) > DESCRIPTORS_MAX:
            for message in messages:
                message.close()
            raise invalid_argument(f"cannot take a message: it brings more than {DESCRIPTORS_MAX} file descriptors")
        return messages

    def _append(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > MESSAGE_MAX:
            raise invalid_argument(f"cannot take a message: it is longer than {MESSAGE_MAX} bytes")
        self._parts.append(part)

    def close(self) -> None:
        """Close the descriptors of a message that never was completed."""
        close_all(self._fds)
        self._parts, self._size = [], 0
