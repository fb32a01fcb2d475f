"""The guest's initial file system: the agent as /init, and the kernel modules it loads.

/init             the agent
/modules/<name>.ko
/modules.list     absolute paths of the modules, one a line, in load order
/dev              with console and null
"""

import contextlib
import hashlib
import os

import container
from container.errors import ContainerError, ErrorCode, internal, os_reason
from container.model.system import Kernel
from container.store import atomic
from container.vm import modules
from container.vm.cpio import Archive
from container.vm.slim import slim

_FORMAT = "2"  # part of the cache key: raise it when the archive's layout changes
_PREFIX = "initramfs-"
_KEPT = 8  # archives in the cache


def agent_path() -> str:
    """Path of the guest agent's binary that this installation ships."""
    return os.path.join(os.path.dirname(container.__file__), "_native", "container-agent")


def build(kernel: Kernel, agent: str, cache: str) -> str:
    """Path of an uncompressed initramfs for this kernel and agent, made when the directory `cache` has none. Blocks.

    Raises ContainerError: not-found (agent, modules), internal.
    """
    try:
        with open(agent, "rb") as file:
            init = file.read()
    except OSError as error:
        message = f"cannot read the guest agent {agent}: {os_reason(error)} (make -C guest builds it)"
        raise ContainerError(ErrorCode.NOT_FOUND, message) from error
    path = os.path.join(cache, f"{_PREFIX}{_key(init, kernel.modules)}.cpio")
    try:
        os.makedirs(cache, mode=0o700, exist_ok=True)
        if not _touch(path):
            chosen = modules.select(kernel.modules) if kernel.modules else []
            atomic.write(path, _archive(init, chosen))
            forget_oldest(cache, _PREFIX, _KEPT)
    except OSError as error:
        raise internal(f"cannot keep the initramfs in {cache}: {os_reason(error)}") from error
    return path


def _archive(init: bytes, chosen: list[modules.Module]) -> bytes:
    archive = Archive()
    archive.directory("dev")
    archive.character_device("dev/console", 5, 1)
    archive.character_device("dev/null", 1, 3, mode=0o666)
    archive.file("init", init, mode=0o755)
    archive.directory("modules")
    paths = []
    for module in chosen:
        paths.append(f"modules/{module.name}.ko")
        archive.file(paths[-1], slim(module.data))
    archive.file("modules.list", "".join(f"/{path}\n" for path in paths).encode())
    return archive.finish()


def _key(init: bytes, directory: str | None) -> str:
    """The agent counts by its content, the modules by what stat(2) says of them: they are megabytes, and installed."""
    digest = hashlib.sha256(f"{_FORMAT} {len(init)} ".encode() + init)
    for parent, _, names in os.walk(directory) if directory else ():
        for path in sorted(os.path.join(parent, name) for name in names):
            found = os.stat(path)
            digest.update(f"{path}\0{found.st_ino} {found.st_size} {found.st_mtime_ns}\0".encode())
    return digest.hexdigest()[:32]


def _touch(path: str) -> bool:
    """Whether the archive is there; it then counts as used now."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True


def forget_oldest(cache: str, prefix: str, kept: int) -> None:
    """Remove the files of a cache that start with `prefix`, but for those that were used last. Raises OSError."""
    found = [entry for entry in os.scandir(cache) if entry.name.startswith(prefix)]
    for entry in sorted(found, key=lambda entry: entry.stat().st_mtime_ns)[:-kept]:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(entry.path)
