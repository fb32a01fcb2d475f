"""`container image list [--filter F] [--format F] [--no-trunc] [-q] [-v] [NAME]`."""

from __future__ import annotations

from container.cli import client, output, sizes
from container.cli.options import filters
from container.cli.spec import Argument, Command, Values, flag
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


def _named(image: dict[str, Any], wanted: str) -> bool:
    """Whether a name, or a name and tag, with `*` and `?`, is that of an image."""
    from fnmatch import fnmatchcase

    full = image["configuration"]["name"]
    name, tag = reference.name_and_tag(full)
    known = (name, f"{name}:{tag or NO_TAG}", f"{name}@{image['configuration']['descriptor']['digest']}")
    return wanted == full or any(fnmatchcase(each, wanted) for each in known)


def _labels(image: dict[str, Any]) -> dict[str, str]:
    """The labels of all platforms."""
    return {
        key: value
        for variant in image["variants"]
        for key, value in (variant["config"].get("config", {}).get("Labels") or {}).items()
    }


TESTS: filters.Tests = {
    "dangling": lambda image, wanted: filters.TRUTH.get(wanted.lower()) is _is_dangling(image),
    filters.LABEL: lambda image, wanted: filters.label(_labels(image), wanted),
    "reference": _named,
}


def _is_dangling(image: dict[str, Any]) -> bool:
    return reference.name_and_tag(image["configuration"]["name"])[1] is None


def run(values: Values) -> int:
    """List images."""
    images = filters.select(client.call("Images.List")["images"], values.filter, TESTS)
    if values.name is not None:
        images = [each for each in images if _named(each, values.name)]

    def record(image: dict[str, Any]) -> object:
        from container.cli.view import image as view

        return view.record(image, whole=values.no_trunc)

    output.print_list(
        images,
        format=values.format,
        quiet=values.quiet,
        header=VERBOSE_HEADER if values.verbose else HEADER,
        rows=_verbose_rows(images) if values.verbose else map(_head, images),
        names=(reference.denormalise(image["configuration"]["name"]) for image in images),
        record=record,
    )
    return 0


COMMAND = Command(
    "List images",
    run,
    options=[
        flag("all", "-a, --all", "The same: there are no images but those with a name", hidden=True),
        filters.option(*TESTS),
        output.format_option(templates=True),
        flag("no_trunc", "--no-trunc", "Whole ids in templates", hidden=True),
        output.QUIET,
        flag("verbose", "-v, --verbose", "Show every platform, with sizes and digests"),
    ],
    arguments=[Argument("name", "name", "Only the image of this name", optional=True)],
    validate=_check,
)
