"""`container image delete [-a] [-f] [REF …]`."""

from __future__ import annotations

from container.cli import client, many, output, sizes
from container.cli.spec import Command, Values, flag


def run(values: Values) -> int:
    """Remove names, then the content that no name refers to; print what went."""
    references = many.check(
        values,
        missing="no image specified and --all not supplied",
        conflict="explicitly supplied images conflict with the --all flag",
    )
    call = {"references": references, "all": values.all, "force": values.force}
    result = client.call("Images.Delete", call)["result"]
    for name in result["deleted"]:
        output.line(name)
    if result["deleted"]:
        output.error_line(f"Reclaimed {sizes.decimal(result['reclaimed'])} in disk space")
    failed = result["failed"]
    if failed:
        raise many.incomplete("failed to delete one or more images", failed)
    return 0


COMMAND = Command(
    "Delete images",
    run,
    options=[
        many.all_option("Delete all images"),
        flag("force", "-f, --force", "Images that are not there are no error"),
    ],
    arguments=[many.ids_argument("The images", "images")],
)
