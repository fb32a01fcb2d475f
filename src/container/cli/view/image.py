"""An image in a line: docker's names for templates."""

from __future__ import annotations

from container.cli import ages, sizes
from container.cli.template.values import Record
from container.cli.view import inspected
from container.model import reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SHORT = 12


def record(image: dict[str, Any], *, whole: bool) -> Record:
    """The fields of docker's `images --format`; `whole` ids are not shortened."""
    name, tag = reference.name_and_tag(image["configuration"]["name"])
    seen = inspected.image(image)
    created = seen.get("Created")
    fields = {
        "CreatedAt": created,
        "CreatedSince": "" if created == inspected.NEVER else ages.ago(created),
        "Digest": image["configuration"]["descriptor"]["digest"],
        "ID": f"sha256:{image['id']}" if whole else image["id"][:SHORT],
        "Repository": name,
        "Size": sizes.decimal(seen.get("Size")),
        "Tag": tag or "<none>",
    }
    return Record(fields, image)
