"""Ids of containers: the name that was given, or a UUID; and what marks the container behind a machine."""

import re

_GENERATED = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
PLUGIN_LABEL = "com.apple.container.plugin"  # names the plugin that a container belongs to
MACHINE = "machine"


def is_generated(id: str) -> bool:
    """Whether an id was made for a container that got no name: a UUID in lower case."""
    return _GENERATED.fullmatch(id) is not None
