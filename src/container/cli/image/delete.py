"""`container image delete [-a] [-f] [REF …]`."""

from __future__ import annotations

from container.cli import client, logger, many, output, sizes
from container.cli.spec import Command, Values, flag
from container.errors import ContainerError, ErrorCode


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
        text = f"failed to delete one or more images: {logger.quoted(sorted(failed))}"
        reasons = "; ".join(failed[name] for name in sorted(failed) if failed[name])
        cause = ContainerError(ErrorCode.INVALID_STATE, reasons) if reasons else None
        raise ContainerError(ErrorCode.INTERNAL, text, cause)
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
