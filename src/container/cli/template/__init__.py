"""`--format '{{…}}'`: the part of Go's templates that people type (docs/reference/format.md)."""

from __future__ import annotations

from container.cli.template.parse import parse
from container.cli.template.values import Heading, TemplateError, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

TABLE = "table "
GAP = "  "


class Template:
    """A template that was read; `table` in front of it asks for a header and aligned columns."""

    def __init__(self, text: str) -> None:
        """Raises TemplateError, which is a ValueError."""
        self._table = text.startswith(TABLE)
        try:
            self._run = parse(text.removeprefix(TABLE).lstrip() if self._table else text)
        except RecursionError as error:
            raise TemplateError("it is nested too deeply") from error

    def render(self, record: Any) -> str:
        """The text for one record. Raises TemplateError."""
        return self._run(record)

    def lines(self, records: Iterable[Any]) -> str:
        """A line for each record, in columns below a header if that was asked for. Raises TemplateError."""
        lines = [self.render(record) for record in records]
        if self._table:
            lines = _aligned([self.render(Heading("")), *lines])
        return "".join(f"{line}\n" for line in lines)


def _aligned(lines: list[str]) -> list[str]:
    """Columns between tabs as wide as their widest cell."""
    rows = [line.split("\t") for line in lines]
    widths = [
        max((len(row[column]) for row in rows if column < len(row)), default=0) for column in range(max(map(len, rows)))
    ]
    return [GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip() for row in rows]


__all__ = ["Template", "TemplateError", "show"]
