"""`container list [-a] [--filter F] [--format F] [--last N] [--no-trunc] [-q]`."""

from __future__ import annotations

import os

from container.cli import client, many, output, sizes
from container.cli.container import filters
from container.cli.options import filters as options
from container.cli.spec import Command, Option, Values, flag, integer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HEADER = ("ID", "IMAGE", "OS", "ARCH", "STATE", "IP", "CPUS", "MEMORY", "STARTED")
WIDE_HEADER = (*HEADER, "STATUS", "PORTS")


def row(snapshot: dict[str, Any]) -> tuple[str, ...]:
    """The cells of a container."""
    configuration, status = snapshot["configuration"], snapshot["status"]
    return (
        snapshot["id"],
        configuration["image"]["reference"],
        configuration["platform"]["os"],
        configuration["platform"]["architecture"],
        status["state"],
        ",".join(network["ipv4Address"] for network in status["networks"]),
        str(configuration["resources"]["cpus"]),
        sizes.mebibytes(configuration["resources"]["memoryInBytes"]),
        status.get("startedDate", ""),
    )


def _wide_row(snapshot: dict[str, Any]) -> tuple[str, ...]:
    from container.cli.view import container

    return (*row(snapshot), container.status(snapshot), container.ports(snapshot))


def run(values: Values) -> int:
    """List containers, but never those of machines."""
    containers = [each for each in client.containers(all=_all(values)) if not many.is_machine(each)]
    if values.filter:
        containers = options.select(containers, values.filter, filters.tests())
    if values.last:
        containers = _newest(containers, values.last)
    wide = values.format == output.WIDE or (values.format == "table" and not values.quiet and os.isatty(1))
    if wide and not values.quiet:
        output.write(_wide(containers, values))
        return 0

    def record(snapshot: dict[str, Any]) -> object:
        from container.cli.view import container

        return container.record(snapshot, whole=values.no_trunc)

    output.print_list(
        containers,
        format="table" if values.format == output.WIDE else values.format,
        quiet=values.quiet,
        header=HEADER,
        rows=map(row, containers),
        names=(each["id"] for each in containers),
        record=record,
    )
    return 0


def _all(values: Values) -> bool:
    """Whether those that do not run may be meant: asked for, by `--all` or by what says so as well (as with docker)."""
    return bool(values.all or values.last or any(key in filters.OF_ANY_STATE for key, _ in values.filter))


def _newest(containers: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    return sorted(containers, key=lambda each: str(each["configuration"]["creationDate"]), reverse=True)[:count]


def _wide(containers: list[dict[str, Any]], values: Values) -> str:
    """The table with all columns; on a terminal shortened to what fits."""
    rows = [_wide_row(each) for each in containers]
    if values.format == output.WIDE or values.no_trunc:
        return output.table(WIDE_HEADER, rows)
    from container.cli.container import fit

    return fit.table(WIDE_HEADER, rows)


def _count(text: str) -> int:
    number = integer(text)
    if number < 1:
        raise ValueError("must be at least 1")
    return number


COMMAND = Command(
    "List containers",
    run,
    options=[
        flag("all", "-a, --all", "Also those that do not run"),
        filters.OPTION,
        output.format_option(templates=True, wide=True),
        Option("last", "-n, --last", "Only the newest, running or not", value="count", parse=_count),
        flag("last", "-l, --latest", "Only the newest one, running or not", const=1, default=None),
        flag("no_trunc", "--no-trunc", "Do not shorten ids and references to fit a terminal"),
        output.QUIET,
    ],
    discussion="On a terminal, columns are left out until the lines fit; elsewhere the table is always the same.",
)
