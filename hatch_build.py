"""Build hook: compiles the C programs with gcc and ships them in the wheel, below `container/_native`."""

import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class NativeBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Runs `make` in `guest/` (the agent) and `native/` (namespace holder, port relay)."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile; a wheel with binaries in it is bound to its architecture."""
        for folder in ("guest", "native"):
            subprocess.run(["make", "-s", "-C", str(Path(self.root, folder))], check=True)
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
