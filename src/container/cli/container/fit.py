"""The list of containers as a terminal can show it: short ids and names, and no more columns than fit."""

from __future__ import annotations

from container.cli import output
from container.cli.help import screen_width
from container.cli.view.container import short_id
from container.model import reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# Which columns go first when the lines are too long: what others say as well, then what is least asked for.
EXPENDABLE = ("OS", "ARCH", "STARTED", "STATE", "MEMORY", "CPUS", "IP", "PORTS")
PORTS_WIDTH = 24  # of a column that is rather cut than left out; one port takes as much
SHORTEST_IMAGE = 12


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The table, as wide as the terminal at most, unless names or ports are too long for that."""
    shortened = [(short_id(id), reference.denormalise(image), *rest) for id, image, *rest in rows]
    columns = dict(zip(header, zip(header, *shortened, strict=True), strict=True))
    ports, width = columns["PORTS"], screen_width()
    columns["PORTS"] = tuple(cell[:PORTS_WIDTH] for cell in ports)
    for title in EXPENDABLE:
        if _width(columns) > width:
            del columns[title]
    room = width - _width(columns)
    if "PORTS" in columns:
        longest = max(map(len, columns["PORTS"])) + room
        columns["PORTS"] = tuple(cell if len(cell) <= longest else f"{cell[: longest - 1]}…" for cell in ports)
    elif room < 0:
        longest = max(max(map(len, columns["IMAGE"])) + room, SHORTEST_IMAGE)
        columns["IMAGE"] = tuple(_tail(cell, longest) for cell in columns["IMAGE"])
    first, *others = zip(*columns.values(), strict=True)
    return output.table(first, others)


def _width(columns: dict[str, tuple[str, ...]]) -> int:
    return sum(max(map(len, cells)) for cells in columns.values()) + len(output.GAP) * (len(columns) - 1)


def _tail(text: str, length: int) -> str:
    """The end of an image's reference, which says more than its registry."""
    return text if len(text) <= length else "…" + text[len(text) - length + 1 :]
