"""The newc cpio format, as the kernel unpacks it (Documentation/driver-api/early-userspace/buffer-format.rst)."""

import stat


class Archive:
    """An archive in the making; parents come before what is in them. All belongs to root, at time 0."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._inode = 0

    def directory(self, path: str, mode: int = 0o755) -> None:
        """Add a directory; `path` without a leading slash."""
        self._entry(path, stat.S_IFDIR | mode, b"", (0, 0))

    def file(self, path: str, content: bytes, mode: int = 0o644) -> None:
        """Add a regular file."""
        self._entry(path, stat.S_IFREG | mode, content, (0, 0))

    def character_device(self, path: str, major: int, minor: int, mode: int = 0o600) -> None:
        """Add a device node."""
        self._entry(path, stat.S_IFCHR | mode, b"", (major, minor))

    def finish(self) -> bytes:
        """The whole archive."""
        self._inode = -1
        self._entry("TRAILER!!!", 0, b"", (0, 0))
        return bytes(self._data)

    def _entry(self, path: str, mode: int, content: bytes, device: tuple[int, int]) -> None:
        self._inode += 1
        name = path.encode() + b"\0"
        links = 2 if stat.S_ISDIR(mode) else 1
        fields = (self._inode, mode, 0, 0, links, 0, len(content), 0, 0, *device, len(name), 0)
        self._data += b"070701" + b"".join(b"%08X" % field for field in fields) + name
        self._pad()
        self._data += content
        self._pad()

    def _pad(self) -> None:
        self._data += b"\0" * (-len(self._data) % 4)
