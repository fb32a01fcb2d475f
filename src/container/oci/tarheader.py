"""One tar header at a time: ustar, pax and GNU blocks to `Entry` and back (pax(1), libarchive's tar(5)).

Names are bytes, as tar files hold them. Written headers are ustar, with a pax header before them where ustar is too
narrow; that is the form that `sqfstar` reads best.
"""

from dataclasses import dataclass, field

from container.errors import invalid_argument

BLOCK = 512
ZERO_BLOCK = bytes(BLOCK)

REGULAR, LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"
PAX, PAX_GLOBAL, GNU_NAME, GNU_LINK, GNU_SPARSE = b"x", b"g", b"L", b"K", b"S"
XATTR = b"SCHILY.xattr."
SPARSE_MAP = b"GNU.sparse.map"

_OLD_REGULAR, _CONTIGUOUS = b"\0", b"7"
_KNOWN = frozenset(
    (REGULAR, LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO, PAX, PAX_GLOBAL, GNU_NAME, GNU_LINK, GNU_SPARSE)
)
_SPARSE_PAIR = (b"GNU.sparse.offset", b"GNU.sparse.numbytes")
_MAX_SIZE = 1 << 62


@dataclass(slots=True)
class Entry:
    """A member of a tar stream; `size` = bytes of data that follow in the stream, `kind` its typeflag."""

    name: bytes
    kind: bytes = REGULAR
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime: int = 0
    link: bytes = b""
    major: int = 0
    minor: int = 0
    xattrs: dict[bytes, bytes] = field(default_factory=dict)


def parse(block: bytes) -> Entry:
    """The entry that one 512-byte header block describes. Raises ContainerError(invalidArgument) if it is none."""
    stored = octal(block[148:156], "checksum")
    total = sum(block) - sum(block[148:156]) + 256
    if stored != total and stored != _signed_sum(block):
        raise invalid_argument("the tar header's checksum is wrong")
    name, kind = _text(block[0:100]), block[156:157]
    if block[257:263] == b"ustar\0" and block[345]:
        name = _text(block[345:500]) + b"/" + name
    if kind == _OLD_REGULAR:
        kind = DIRECTORY if name.endswith(b"/") else REGULAR
    elif kind == _CONTIGUOUS:
        kind = REGULAR
    if kind not in _KNOWN:
        raise invalid_argument(f"tar member {show(name)} has the unknown type {show(kind)}")
    device = kind in (CHARACTER, BLOCK_DEVICE)
    return Entry(
        name=name,
        kind=kind,
        mode=octal(block[100:108], "mode") & 0o7777,
        uid=octal(block[108:116], "uid"),
        gid=octal(block[116:124], "gid"),
        size=octal(block[124:136], "size"),
        mtime=octal(block[136:148], "mtime"),
        link=_text(block[157:257]),
        major=octal(block[329:337], "device number") if device else 0,
        minor=octal(block[337:345], "device number") if device else 0,
    )


def build(entry: Entry) -> bytes:
    """Header blocks for `entry`: ustar, preceded by a pax header for what does not fit; times are 33 bits wide.

    The long target of a symbolic link goes into a header of GNU's: sqfstar cuts `/`, `./` and `../` off those of pax.
    """
    records: dict[bytes, bytes] = {}
    long_target = b""
    name = entry.name + b"/" if entry.kind == DIRECTORY else entry.name
    if len(name) > 100:
        records[b"path"] = name
    if len(entry.link) > 100 and entry.kind == SYMLINK:
        target = Entry(name=b"././@LongLink", kind=GNU_LINK, size=len(entry.link) + 1)
        long_target = _ustar(target, target.name) + entry.link + b"\0" + padding(target.size)
    elif len(entry.link) > 100:
        records[b"linkpath"] = entry.link
    for key, value, limit in (
        (b"uid", entry.uid, 0o7777777),
        (b"gid", entry.gid, 0o7777777),
        (b"size", entry.size, 0o77777777777),
    ):
        if value > limit:
            records[key] = b"%d" % value
    for key, content in entry.xattrs.items():
        records[XATTR + key] = content
    header = _ustar(entry, name)
    if not records:
        return long_target + header
    body = b"".join(_record(key, value) for key, value in records.items())
    pax = Entry(name=b"PaxHeaders/entry", kind=PAX, size=len(body))
    return long_target + _ustar(pax, pax.name) + body + padding(len(body)) + header


def padding(size: int) -> bytes:
    """Zeros from `size` bytes of data to the next block."""
    return ZERO_BLOCK[: -size % BLOCK]


def parse_pax(body: bytes) -> dict[bytes, bytes]:
    """The records of a pax header. Raises ContainerError(invalidArgument)."""
    records: dict[bytes, bytes] = {}
    position = 0
    while position < len(body) and body[position]:
        space = body.find(b" ", position, position + 12)
        digits = body[position:space] if space > 0 else b""
        length = int(digits) if digits.isdigit() else 0
        record = body[space + 1 : position + length]
        key, equals, value = record.partition(b"=")
        if position + length > len(body) or not record.endswith(b"\n") or not equals or not key:
            raise invalid_argument("the tar file has a malformed pax header")
        if key in _SPARSE_PAIR:  # format 0.0 repeats these two; the map of format 0.1 says the same
            records[SPARSE_MAP] = records.get(SPARSE_MAP, b"") + value[:-1] + b","
        else:
            records[key] = value[:-1]
        position += length
    return records


def apply_pax(entry: Entry, records: dict[bytes, bytes]) -> None:
    """Let pax records override the fields of `entry`. Raises ContainerError(invalidArgument)."""
    for key, value in records.items():
        if key.startswith(XATTR):
            entry.xattrs[key[len(XATTR) :]] = value
        elif key == b"path":
            entry.name = value
        elif key == b"linkpath":
            entry.link = value
        elif key in (b"uid", b"gid", b"size"):
            setattr(entry, key.decode(), _decimal(key, value))
        elif key == b"mtime":
            entry.mtime = _decimal(key, value.partition(b".")[0] or b"0")


def show(name: bytes) -> str:
    """A member's name for messages."""
    return name.decode("utf-8", "backslashreplace")


def _ustar(entry: Entry, name: bytes) -> bytes:
    header = b"%b%07o\0%07o\0%07o\0%011o\0%011o\0        %b%bustar\00000%b%07o\0%07o\0%b" % (
        _fill(name, 100),
        entry.mode,
        min(entry.uid, 0o7777777),
        min(entry.gid, 0o7777777),
        min(entry.size, 0o77777777777),
        min(max(entry.mtime, 0), 0o77777777777),
        entry.kind,
        _fill(entry.link, 100),
        bytes(64),
        entry.major,
        entry.minor,
        bytes(167),
    )
    return b"%b%06o\0 %b" % (header[:148], sum(header), header[156:])


def _fill(text: bytes, width: int) -> bytes:
    return text[:width].ljust(width, b"\0")


def _record(key: bytes, value: bytes) -> bytes:
    length = len(key) + len(value) + 3  # space, equals sign, newline
    size = length + len(str(length))
    size = length + len(str(size))
    return b"%d %b=%b\n" % (size, key, value)


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def octal(field: bytes, what: str) -> int:
    """The number in a header field, octal or base-256. Raises ContainerError(invalidArgument) naming `what`."""
    if field[0] & 0x80:  # base-256: two's complement below the marking bit
        half = 1 << (8 * len(field) - 1)
        value = int.from_bytes(field, "big") - half
        if field[0] & 0x40:
            value -= half
    else:
        try:
            value = int(field.strip(b" \0").partition(b"\0")[0] or b"0", 8)
        except ValueError:
            raise invalid_argument(f"the tar header's {what} is not a number") from None
    if (value < 0 and what != "mtime") or value > _MAX_SIZE:
        raise invalid_argument(f"the tar header's {what} is out of range")
    return value


def _decimal(key: bytes, value: bytes) -> int:
    try:
        number = int(value)
    except ValueError:
        number = -1 if key != b"mtime" else 0
    if (number < 0 and key != b"mtime") or number > _MAX_SIZE:
        raise invalid_argument(f"the pax record {key.decode()} has the bad value {show(value)}")
    return number


def _signed_sum(block: bytes) -> int:
    """The checksum as old tars wrote it, with bytes taken as signed."""
    values = block[:148] + b" " * 8 + block[156:]
    return sum(byte - 256 if byte > 127 else byte for byte in values)
