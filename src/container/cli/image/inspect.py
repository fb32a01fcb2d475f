"""`container image inspect [-f F] REF …`."""

from __future__ import annotations

from container.cli import client, output
from container.cli.spec import Argument, Command, Values
from container.errors import ContainerError, ErrorCode, not_found


def run(values: Values) -> int:
    """Print images as a JSON array, sorted by reference."""
    found, missing = {}, []
    for reference in dict.fromkeys(values.references):
        try:
            image = client.call("Images.Get", {"reference": reference})["image"]
        except ContainerError as error:
            if error.code is not ErrorCode.NOT_FOUND:
                raise
            missing.append(reference)
        else:
            found[image["configuration"]["name"]] = image
    if missing:
        raise not_found(
            f"image not found: {', '.join(sorted(missing))}; `container image list` shows those that there are"
        )
    output.print_inspected("image", [found[name] for name in sorted(found)], values.format)
    return 0


COMMAND = Command(
    "Show everything that is known of images",
    run,
    options=[output.INSPECT_FORMAT],
    arguments=[Argument("references", "images", "The images", many=True)],
)
