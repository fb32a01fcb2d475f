"""`container image list [--format F] [-q] [-v]`."""

from __future__ import annotations

from container.cli import client, output, sizes
from container.cli.spec import Command, Values, flag
from container.cli.usage import UsageError
from container.model import reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

HEADER = ("NAME", "TAG", "DIGEST")
VERBOSE_HEADER = (
    "NAME",
    "TAG",
    "INDEX DIGEST",
    "OS",
    "ARCH",
    "VARIANT",
    "FULL SIZE",
    "CREATED",
    "MANIFEST DIGEST",
)
SHORT = 12  # hex digits of a digest in a table
NO_TAG = "<none>"


def _digest(text: str) -> str:
    return text.removeprefix("sha256:")[:SHORT]


def _head(image: dict[str, Any]) -> tuple[str, str, str]:
    name, tag = reference.name_and_tag(image["configuration"]["name"])
    return name, tag or NO_TAG, _digest(image["configuration"]["descriptor"]["digest"])


def _verbose_rows(images: list[dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    """A row for each platform; attestations are left out."""
    for image in images:
        for variant in image["variants"]:
            platform = variant["platform"]
            if platform["os"] == "unknown":
                continue
            yield (
                *_head(image),
                platform["os"],
                platform["architecture"],
                platform.get("variant", ""),
                sizes.decimal(variant["size"]),
                variant["config"].get("created", ""),
                _digest(variant["digest"]),
            )


def _check(values: Values) -> None:
    if values.quiet and values.verbose:
        raise UsageError("cannot use flag --quiet and --verbose together")


def run(values: Values) -> int:
    """List images."""
    images = client.call("Images.List")["images"]
    output.print_list(
        images,
        format=values.format,
        quiet=values.quiet,
        header=VERBOSE_HEADER if values.verbose else HEADER,
        rows=_verbose_rows(images) if values.verbose else map(_head, images),
        names=(reference.denormalise(image["configuration"]["name"]) for image in images),
    )
    return 0


COMMAND = Command(
    "List images",
    run,
    options=[
        output.format_option(),
        output.QUIET,
        flag("verbose", "-v, --verbose", "Show every platform, with sizes and digests"),
    ],
    validate=_check,
)
