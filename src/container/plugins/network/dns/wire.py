"""The little of the DNS wire format (RFC 1035 4.1) that passing messages on takes. Pure."""

HEADER_BYTES = 12
FORMERR, SERVFAIL, REFUSED = 1, 2, 5


def failure(query: bytes, rcode: int) -> bytes:
    """A response without content, for a query that has at least a header."""
    flags = bytes((0x80 | query[2] & 0x79, 0x80 | rcode))  # QR, the opcode and RD of the query; RA
    return query[:2] + flags + bytes(8)


def question_end(query: bytes) -> int:
    """Where the first question ends. Raises ValueError for one that is cut off or compressed."""
    position = HEADER_BYTES
    while position < len(query) and (length := query[position]) != 0:
        if length > 63:
            raise ValueError("a compressed name in the question")
        position += 1 + length
    if position + 5 > len(query):
        raise ValueError("the question is cut off")
    return position + 5


def cut(response: bytes) -> bytes:
    """The response without its records and with the mark that there were more (TC): the client asks again by TCP."""
    end = question_end(response)
    counts = b"\0\1" + bytes(6)
    return response[:2] + bytes((response[2] | 2, response[3])) + counts + response[HEADER_BYTES:end]
