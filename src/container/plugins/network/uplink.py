"""How a network reaches the outside: one Protocol, one implementation each way."""

from ipaddress import IPv4Address
from typing import Protocol

from container.errors import invalid_argument
from container.linux.netns import Namespace
from container.plugins.network.plan import Plan
from container.plugins.network.state import UplinkRecord


class Uplink(Protocol):
    """The interface `plan.UPLINK` of a namespace with a default route behind it.

    `holder` is the process that holds the namespace: an uplink that is a process itself ends with it.
    """

    kind: str

    @property
    def resolver(self) -> IPv4Address | None:
        """Where in the namespace's view the host's DNS answers."""

    async def start(self, namespace: Namespace, holder: int) -> UplinkRecord:
        """Bring it up; returns when traffic can pass. Raises ContainerError with what to do."""

    def adopt(self, record: UplinkRecord) -> bool:
        """Take over one that an earlier helper started; False when it is gone."""

    async def wait(self) -> None:
        """Return when the uplink has failed. Only while it is up."""

    async def stop(self) -> None:
        """Take it down; fine when it is not up."""

    def close(self) -> None:
        """Let go of it; it stays up."""


def make_uplink(kind: str | None, plan: Plan) -> Uplink:
    """The uplink of this kind; None: the one that works everywhere. Raises ContainerError(invalidArgument)."""
    if kind in (None, "slirp4netns"):
        from container.plugins.network.slirp import Slirp

        return Slirp(plan)
    if kind == "veth":
        from container.plugins.network.veth import Veth

        return Veth(plan)
    raise invalid_argument(f"unknown uplink {kind!r}: must be slirp4netns or veth")
