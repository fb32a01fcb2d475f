"""Results on standard output, everything else on standard error: raw text, tables, and the four formats."""

from __future__ import annotations

import sys

from container.cli.spec import Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any, TextIO

    from container.cli.template import Template

FORMATS = ("json", "table", "yaml", "toml")
GAP = "  "


WIDE = "wide"


def format_option(*choices: str, templates: bool = False, wide: bool = False) -> Option:
    """`--format`, with the words that it takes; the default is `table` (contract 1.5).

    With `templates` also Go's templates, which become a Template; with `wide` also that word.
    """
    allowed = choices or FORMATS

    def parse(word: str) -> Any:
        if wide and word == WIDE:
            return word
        if templates and ("{{" in word or word.startswith("table ")):
            return template(word)
        raise ValueError("")

    text = "Format of the output"
    text += f", also {WIDE}" if wide else ""
    text += ", or a template such as '{{.ID}}'" if templates else ""
    return Option("format", "--format", text, value="format", default="table", choices=allowed, parse=parse)


def template(word: str) -> Template:
    """A template from the command line. Raises ValueError."""
    from container.cli.template import Template

    return Template(word)


def print_template(chosen: Template, records: Iterable[Any]) -> None:
    """A line for each record. Raises UsageError when the template does not go with them."""
    from container.cli.template import TemplateError
    from container.cli.usage import UsageError

    try:
        text = chosen.lines(records)
    except TemplateError as error:
        raise UsageError(f"The template does not fit: {error}") from error
    write(text)


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


INSPECT_FORMAT = Option(
    "format",
    "-f, --format",
    "json, or a template such as '{{.State.Status}}'",
    value="format",
    default="json",
    choices=("json",),
    parse=template,
)


def print_inspected(kind: str, items: Sequence[Any], format: Template | str) -> None:
    """What there is to know of things of a kind: a JSON array, or with a template a line for each."""
    if isinstance(format, str):
        print_json(items)
        return
    from container.cli.view import inspected

    print_template(format, map(getattr(inspected, kind), items))


def print_list(
    items: Sequence[Any],
    *,
    format: str | Template,
    quiet: bool,
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    names: Iterable[str],
    record: Callable[[Any], Any] | None = None,
) -> None:
    """A list in one of the formats; `rows` and `names` (for `-q`) are only read where they are shown.

    `record` makes of an item what a template sees; without it that is the item.
    """
    if not isinstance(format, str):
        print_template(format, items if record is None else map(record, items))
    elif format != "table":
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
