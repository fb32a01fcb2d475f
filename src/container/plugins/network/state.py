"""What a helper must know of its predecessor: one small file in the run root, which is gone after a reboot."""

import os
from dataclasses import dataclass, field

from container.errors import ContainerError, ErrorCode
from container.model import codec
from container.paths import Roots
from container.store import atomic


@dataclass(frozen=True)
class ProcessRecord:
    """A process; the start time, in clock ticks after boot, tells it from a later one with its number."""

    pid: int
    start_time: int


@dataclass(frozen=True)
class UplinkRecord:
    """The uplink that was started, its process and its own subnet if it has them."""

    kind: str
    process: ProcessRecord | None = None
    subnet: str | None = None
    host_loopback: bool = False


@dataclass(frozen=True)
class LeaseRecord:
    """An address that was given out; while one of the interfaces `taps` exists, it is in use."""

    container: str
    hostname: str
    address: str
    mac_address: str
    mtu: int
    taps: list[str]
    ipv6_address: str | None = field(default=None, metadata={"json": "ipv6Address"})
    aliases: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class NetworkState:
    """Everything of one network that outlives its helper."""

    boot_id: str
    mode: str
    ipv4_subnet: str
    ipv6_subnet: str | None = None
    holder: ProcessRecord | None = None
    uplink: UplinkRecord | None = None
    leases: list[LeaseRecord] = field(default_factory=list)
    last_address: str | None = None  # addresses are given out in turn, not reused at once
    last_tap: int = 0


class StateFile:
    """Reads and replaces the state of one network."""

    def __init__(self, roots: Roots, network: str) -> None:
        self.path = os.path.join(roots.run, "networks", f"{network}.json")

    def load(self) -> NetworkState | None:
        """The state, None without one or from another boot. Raises ContainerError with the path when it is corrupt."""
        try:
            state = codec.decode(NetworkState, atomic.read_json(self.path))
        except ContainerError as error:
            if error.code is ErrorCode.NOT_FOUND:
                return None
            raise ContainerError(
                error.code, f"the state of the network in {self.path} cannot be used", error
            ) from error
        return state if state.boot_id == boot_id() else None

    def save(self, state: NetworkState) -> None:
        """Raises ContainerError."""
        os.makedirs(os.path.dirname(self.path), mode=0o700, exist_ok=True)
        atomic.write_json(self.path, codec.encode(state))

    def remove(self) -> None:
        """Forget it; fine when there is none."""
        if os.path.exists(self.path):
            os.unlink(self.path)


def boot_id() -> str:
    """What tells one boot of this kernel from another (random(4))."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()
