"""How starts of containers went, since the API server started."""

from dataclasses import dataclass


@dataclass
class Starts:
    """All that were asked for, and those of them whose machine hung or could not be restored, and was booted anew."""

    total: int = 0
    repeated: int = 0
