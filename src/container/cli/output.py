"""Results on standard output, everything else on standard error: raw text, tables, and the four formats."""

from __future__ import annotations

import sys

from container.cli.spec import Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any, TextIO

FORMATS = ("json", "table", "yaml", "toml")
GAP = "  "


def format_option(*choices: str) -> Option:
    """`--format`, with the words that it takes; the default is `table` (contract 1.5)."""
    allowed = choices or FORMATS
    return Option("format", "--format", "Format of the output", value="format", default="table", choices=allowed)


QUIET = Option("quiet", "-q, --quiet", "Only print the names", default=False)


def _emit(stream: TextIO | None, text: str) -> None:
    if stream is None:  # started with that descriptor closed
        return
    stream.flush()
    stream.buffer.write(text.encode("utf-8", "surrogateescape"))
    stream.buffer.flush()


def write(text: str) -> None:
    """Text to standard output, at once."""
    _emit(sys.stdout, text)


def line(text: str) -> None:
    """A line to standard output, at once."""
    _emit(sys.stdout, text + "\n")


def error_line(text: str) -> None:
    """A line to standard error."""
    _emit(sys.stderr, text + "\n")


def error_write(text: str) -> None:
    """Text to standard error."""
    _emit(sys.stderr, text)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows in columns padded to their widest cell, two spaces apart, the last one not padded."""
    cells = [header, *rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = []
    for row in cells:
        padded = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)]
        lines.append(GAP.join([*padded, row[-1]]) + "\n")
    return "".join(lines)


def dumps(value: Any) -> str:
    """JSON on one line, keys sorted (contract 1.5)."""
    import json

    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def print_json(value: Any) -> None:
    """JSON indented by two, keys sorted: `inspect`, `system df`."""
    import json

    line(json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False))


def print_list(
    items: Sequence[Any],
    *,
    format: str,
    quiet: bool,
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    names: Iterable[str],
) -> None:
    """A list in one of the formats; `rows` and `names` (for `-q`) are only read where they are shown."""
    if format != "table":
        write(render(items, format))
    elif quiet:
        write("".join(f"{name}\n" for name in names))
    else:
        write(table(header, rows))


def render(value: Any, format: str) -> str:
    """A value as `json`, `yaml` or `toml`, with the final newline."""
    if format == "json":
        return dumps(value) + "\n"
    from container.cli import formats

    return formats.yaml(value) if format == "yaml" else formats.toml(value)
