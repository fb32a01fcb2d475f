"""Keeps the rules inside a network's namespace: what the gateway lets pass, and who may speak on which port."""

import asyncio
from collections.abc import Iterable

from container.errors import ContainerError
from container.linux.netns import Namespace
from container.plugins.network.firewall import Port, WayOut, guard_change, guards, ruleset
from container.plugins.network.plan import Plan


class Guard:
    """The rules of one network. Nothing is let through before `establish` has returned."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._way: WayOut | None = None
        self._ports: dict[str, Port] | None = None  # None: what is in force is not known
        self._changing = asyncio.Lock()

    async def establish(self, namespace: Namespace, way: WayOut, ports: Iterable[Port]) -> None:
        """Put the rules in force unless they are. Raises ContainerError."""
        async with self._changing:
            if self._way != way:
                await self._apply(namespace, ruleset(self._plan, way))
                self._way = way
            await self._admit(namespace, {port.name: port for port in ports})

    async def _admit(self, namespace: Namespace, wanted: dict[str, Port]) -> None:
        known, self._ports = self._ports, None
        if known is None:
            await self._apply(namespace, guards(wanted.values()))
        elif known != wanted:
            added = [port for name, port in wanted.items() if known.get(name) != port]
            removed = [name for name, port in known.items() if wanted.get(name) != port]
            await self._apply(namespace, guard_change(added, removed))
        self._ports = wanted

    async def _apply(self, namespace: Namespace, rules: str) -> None:
        try:
            await namespace.run("nft", "-f", "-", data=rules.encode())
        except ContainerError as error:
            raise ContainerError(
                error.code,
                f"cannot set up the rules of network {self._plan.id}: that needs the program nft (package nftables) "
                "and the kernel modules nf_tables, nft_chain_nat, nft_masq and nft_ct",
                error,
            ) from error
