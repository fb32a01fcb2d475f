"""LZ4 in its legacy frame, as the kernel's build makes it (doc/lz4_Frame_format.md and lz4_Block_format.md of lz4).

Own code, so that installing a kernel needs no tool: 50 MB in about 1.2 s.
"""

_MAGIC = b"\x02\x21\x4c\x18"


def decompress_legacy(data: bytes) -> bytes:
    """The content of one legacy frame. Raises ValueError or IndexError when it is damaged."""
    if data[:4] != _MAGIC:
        raise ValueError("no LZ4 legacy frame")
    out = bytearray()
    at = 4
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "little")
        at += 4
        if at + size > len(data):
            raise ValueError("it ends too early")
        out += _block(data[at : at + size])
        at += size
    return bytes(out)


def _block(source: bytes) -> bytearray:
    """One block: sequences of token, literals, offset, match; the last one has literals only."""
    out = bytearray()
    at, end = 0, len(source)
    while at < end:
        token = source[at]
        at += 1
        length = token >> 4
        if length == 15:
            length, at = _extended(source, at, length)
        out += source[at : at + length]
        at += length
        if at >= end:
            break
        offset = source[at] | source[at + 1] << 8
        at += 2
        length = token & 15
        if length == 15:
            length, at = _extended(source, at, length)
        length += 4
        start = len(out) - offset
        if start < 0 or offset == 0:
            raise ValueError("a match lies before the beginning")
        if offset >= length:
            out += out[start : start + length]
        else:  # the match overlaps what it makes
            pattern = bytes(out[start:])
            out += (pattern * (length // offset + 1))[:length]
    return out


def _extended(source: bytes, at: int, length: int) -> tuple[int, int]:
    while True:
        byte = source[at]
        at += 1
        length += byte
        if byte != 255:
            return length, at
