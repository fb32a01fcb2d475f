"""What a layer's tar adds up to: the tree that its members make, in their order, as an extractor would see it.

`LayerTree.add` takes each member and answers what of it belongs in the squashfs stream now: non-directories at once
under their clean path, directories and whiteouts later (`closing`), because both can be changed by a later member.
Symbolic links are followed in the directory part of names, `..` stops at the root: no name leaves the image. A hard
link to a file that only lower layers have is `borrowed`, and not in the stream (see `borrow`); it may be a symbolic
link, which only a tree that knows what is `below` can follow. What the layer relies on
being a directory without saying so is `assumed`: lower layers may have a symbolic link there, or nothing.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

from container.errors import invalid_argument
from container.oci import tarheader
from container.oci.tarheader import Entry, show

WHITEOUT, META, OPAQUE = b".wh.", b".wh..wh.", b".wh..wh..opq"
OPAQUE_XATTR = b"trusted.overlay.opaque"
ORIGIN_XATTR = b"trusted.overlay.origin"  # has overlayfs look for whiteouts in what one layer alone has, too
DEFAULT_DIRECTORY = Entry(name=b"", kind=tarheader.DIRECTORY, mode=0o755)

_OVERLAY_PREFIX = b"trusted.overlay."
_XATTR_SPACES = (b"user.", b"trusted.", b"security.")  # what squashfs can hold
_MAX_TIME = (1 << 32) - 1
_MAX_ID = (1 << 32) - 1
_MAX_MAJOR, _MAX_MINOR = (1 << 12) - 1, (1 << 20) - 1  # linux/kdev_t.h
_MAX_PATH = 4095
_MAX_NAME = 255
_MAX_LINKS = 40


class LayerTree:
    """The members of one layer so far; paths are bytes relative to the root, which is `b""`."""

    def __init__(self, replaced: Callable[[], None], below: Callable[[bytes], bytes | None] | None = None) -> None:
        """`replaced` is called when a member replaces an earlier one; `below` tells targets of lower symbolic links."""
        self.directories: dict[bytes, Entry | None] = {b"": None}  # None: implied by what is below it
        self.opaque: set[bytes] = set()
        self.whiteouts: set[bytes] = set()
        self.borrowed: dict[bytes, bytes] = {}  # hard links to files of lower layers, with these
        self.assumed: set[bytes] = set()
        self.doubtful: set[bytes] = set()  # borrowed, and something is in it: a symbolic link, if anything
        self.fresh: set[bytes] = set()  # implied when what lower layers have there was hidden already
        self.owners: set[int] = set()  # uids and gids in the stream
        self._others: dict[bytes, int] = {}
        self._symlinks: dict[bytes, bytes] = {}
        self._links: dict[bytes, int] = {}  # hard links, with the ordinal of the file
        self._replaced = replaced
        self._knows = below is not None
        self._below = below or (lambda _: None)

    def add(self, entry: Entry, ordinal: int) -> Entry | None:
        """Take the next member; returns it with a clean name when it goes into the stream now."""
        parent, _, base = clean(entry.name).rpartition(b"/")
        if base.startswith(WHITEOUT):
            self._whiteout(self._led(parent), base)
            return None
        if parent not in self.directories:
            parent = self._directory(parent)
        if not base:
            if entry.kind != tarheader.DIRECTORY:
                raise invalid_argument(f"tar member {show(entry.name)} replaces the root directory")
            self.directories[b""] = checked(entry, b"")
            return None
        path = parent + b"/" + base if parent else base
        if len(base) > _MAX_NAME or len(path) > _MAX_PATH:
            raise invalid_argument(f"the name of tar member {show(entry.name)} is too long")
        entry = checked(entry, path)
        if entry.kind == tarheader.DIRECTORY:
            if path in self._others:
                self._remove(path)
                self.whiteouts.add(path)  # what lower layers have there was replaced, too
            self.directories[path] = entry
            return None
        if path in self._others or path in self.directories:
            self._remove(path)
        return entry if self._put(entry, ordinal) else None

    def closing(self, implied: Callable[[bytes], Entry]) -> Iterator[Entry]:
        """The directories but the root, then the whiteouts; `implied` gives the metadata of an unlisted directory."""
        marks = {path.rpartition(b"/")[0]: ORIGIN_XATTR for path in self.hidden()}
        marks.update((path, OPAQUE_XATTR) for path in self.opaque_directories())
        for path in sorted(self.directories):
            if path:
                entry = self.directories[path] or replace(implied(path), name=path)
                if path in marks:
                    entry = replace(entry, xattrs={**entry.xattrs, marks[path]: b"y"})
                yield entry
        for path in sorted(self.hidden()):
            yield Entry(name=path, kind=tarheader.CHARACTER, mode=0)

    def settle(self, below: Callable[[bytes], bool]) -> None:
        """Have the directories that whiteouts are in; forget whiteouts in what is none or is hidden whole.

        `below` tells what lower layers have as a directory. Call it after the last member.
        """
        closed = self.hidden() | self.opaque | self.opaque_directories() | self._others.keys()

        def stands(directory: bytes) -> bool:
            return directory in self.directories or (directory not in self._others and below(directory))

        self.whiteouts = {
            path for path in self.whiteouts if closed.isdisjoint(above(path)) and stands(path.rpartition(b"/")[0])
        }
        self.opaque = {path for path in self.opaque if closed.isdisjoint(above(path)) and stands(path)}
        for path in [*self.hidden(), *(self.opaque - self.directories.keys())]:
            self.imply(path)
        self.directories.update(dict.fromkeys(self.opaque - self.directories.keys()))

    def opaque_directories(self) -> set[bytes]:
        """Directories that hide what lower layers have in them: marked so, or whited out and made anew."""
        return (self.opaque | self.whiteouts) & self.directories.keys()

    def hidden(self) -> set[bytes]:
        """Paths of lower layers that this layer removes and does not have itself."""
        return self.whiteouts - self.directories.keys() - self._others.keys()

    def files(self) -> Iterator[tuple[bytes, int, bytes | None]]:
        """What the layer has itself but directories: path, ordinal of the member that it is, target if a symlink."""
        for path, ordinal in self._others.items():
            if path not in self.borrowed:
                yield path, self._links.get(path, ordinal), self._symlinks.get(path)

    def hides(self, path: bytes) -> bool:
        """Whether a file of a lower layer at `path` can no longer be seen."""
        if path in self.whiteouts or path in self.directories or path in self._others:
            return True
        return any(up in self.opaque or up in self.whiteouts or up in self._others for up in above(path))

    def relied_on(self) -> list[bytes]:
        """Directories that the layer has something in and does not list, where it does not hide what is below it."""
        hidden = self.fresh | self.whiteouts | self.opaque
        return [path for path in self.implied() if path not in hidden and hidden.isdisjoint(above(path))]

    def imply(self, path: bytes) -> None:
        """Have the directories that `path` is in."""
        for up in above(path):
            self.directories.setdefault(up, None)

    def implied(self) -> list[bytes]:
        """Directories that the layer has but does not list, sorted; may include the root."""
        return sorted(path for path, entry in self.directories.items() if entry is None)

    def _put(self, entry: Entry, ordinal: int) -> bool:
        """Note what is no directory; returns whether it belongs in the stream."""
        path = entry.name
        if entry.kind == tarheader.LINK:
            return self._link(entry, ordinal)
        if entry.kind == tarheader.SYMLINK:
            self._symlinks[path] = entry.link
        self.owners.update((entry.uid, entry.gid))
        self._others[path] = ordinal
        return True

    def _link(self, entry: Entry, ordinal: int) -> bool:
        path, target = entry.name, resolve(entry.link, self._target)
        if not target or self.directories.get(target):  # an implied one may be a symbolic link below
            raise invalid_argument(f"tar member {show(path)} is a hard link to the directory {show(entry.link)}")
        here = target in self._others and target not in self.borrowed
        self._others[path] = ordinal
        if not here:
            self.borrowed[path] = origin = self.borrowed.get(target, target)
            if (leads := self._below(origin)) is not None:
                self._symlinks[path] = leads
            self._assume(target.rpartition(b"/")[0])
            return False
        entry.link = target
        self._links[path] = self._links.get(target, self._others[target])
        if target in self._symlinks:
            self._symlinks[path] = self._symlinks[target]
        return True

    def _remove(self, path: bytes) -> None:
        """Forget what is at `path` and below it."""
        below = path + b"/"
        if path in self.directories:
            doomed = [path, *(other for other in self._others if other.startswith(below))]
            for directory in [name for name in self.directories if name == path or name.startswith(below)]:
                del self.directories[directory]
            self.opaque = {name for name in self.opaque if name != path and not name.startswith(below)}
            self.whiteouts = {name for name in self.whiteouts if not name.startswith(below)}
        else:
            doomed = [path]
        for name in doomed:
            self._symlinks.pop(name, None)
            self._links.pop(name, None)
            ordinal = self._others.pop(name, None)
            if self.borrowed.pop(name, None) is None and ordinal is not None:
                self._replaced()

    def _whiteout(self, parent: bytes, base: bytes) -> None:
        if base == OPAQUE:
            self.opaque.add(parent)
        elif not base.startswith(META):  # else bookkeeping of aufs
            name = base[len(WHITEOUT) :]
            if name in (b"", b".", b".."):
                raise invalid_argument(f"tar member {show(base)} is a whiteout of nothing")
            path = parent + b"/" + name if parent else name
            (self.opaque if path in self.directories else self.whiteouts).add(path)

    def _directory(self, path: bytes) -> bytes:
        """The directory at `path`, symbolic links followed, missing parts made as implied."""
        path = self._led(path)
        for step in (*above(path), path):
            if step in self.borrowed and not self._knows:
                self.doubtful.add(step)
            elif step in self._others:
                raise invalid_argument(f"the layer has both a file {show(step)} and something in it")
            elif step not in self.directories:
                if self.hides(step):
                    self.fresh.add(step)
                self.directories[step] = None
        return path

    def _led(self, path: bytes) -> bytes:
        """Where the directory `path` is, symbolic links followed; notes what that assumes."""
        if path not in self.directories:
            path = follow(path, self._target)
            self._assume(path)
        return path

    def _assume(self, path: bytes) -> None:
        self.assumed.update(step for step in (*above(path), path) if step not in self.directories)

    def _target(self, path: bytes) -> bytes | None:
        """The target of the symbolic link at `path`, of this layer or below it."""
        if path in self._symlinks:
            return self._symlinks[path]
        target = self._below(path)
        return None if target is None or self.hides(path) else target


def above(path: bytes) -> Iterator[bytes]:
    """The directories that `path` is in, the root last."""
    while path:
        path = path.rpartition(b"/")[0]
        yield path


def resolve(name: bytes, target: Callable[[bytes], bytes | None]) -> bytes:
    """`name` as a path relative to the root, symbolic links followed in its directory part, as `follow` does."""
    parent, _, base = clean(name).rpartition(b"/")
    parent = follow(parent, target)
    return parent + b"/" + base if parent else base


def follow(path: bytes, target: Callable[[bytes], bytes | None]) -> bytes:
    """Where the clean `path` leads; `target` tells that of a symbolic link. Raises ContainerError(invalidArgument)."""
    parts = path.split(b"/")[::-1]
    here, links = b"", 0
    while parts:
        part = parts.pop()
        if part == b"..":
            here = here.rpartition(b"/")[0]
            continue
        step = here + b"/" + part if here else part
        leads = target(step)
        if leads is None:
            here = step
            continue
        links += 1
        if links > _MAX_LINKS:
            raise invalid_argument(f"the directory {show(path)} leads through too many symbolic links")
        here = b"" if leads.startswith(b"/") else here
        parts += [piece for piece in leads.split(b"/") if piece not in (b"", b".")][::-1]
    return here


def clean(name: bytes) -> bytes:
    """`name` as a path relative to the root: no leading or trailing slash, no `.`; `..` stops at the root."""
    path = name.removeprefix(b"./").rstrip(b"/")
    if b"//" not in path and b"/." not in path and path[:1] not in (b"/", b"."):
        return path
    parts: list[bytes] = []
    for part in path.split(b"/"):
        if part == b"..":
            del parts[-1:]
        elif part not in (b"", b"."):
            parts.append(part)
    return b"/".join(parts)


def checked(entry: Entry, path: bytes) -> Entry:
    """`entry` as squashfs can hold it, under its clean path. Raises ContainerError(invalidArgument)."""
    if b"\0" in path or b"\0" in entry.link or len(entry.link) > _MAX_PATH:
        raise invalid_argument(f"tar member {show(path)} has a malformed name or link")
    if entry.uid > _MAX_ID or entry.gid > _MAX_ID:
        raise invalid_argument(f"tar member {show(path)} has the impossible owner {entry.uid}:{entry.gid}")
    if entry.major > _MAX_MAJOR or entry.minor > _MAX_MINOR:
        raise invalid_argument(f"tar member {show(path)} is the impossible device {entry.major}:{entry.minor}")
    entry.name = path
    entry.mtime = min(max(entry.mtime, 0), _MAX_TIME)
    if entry.xattrs:
        entry.xattrs = {
            key: value
            for key, value in entry.xattrs.items()
            if key.startswith(_XATTR_SPACES) and not key.startswith(_OVERLAY_PREFIX)
        }
    return entry
