"""`python -m benchmarks [NAME …]`: measure the promises of SPECIFICATION.md; exits 1 when one is not kept."""

import importlib
import pkgutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support import images
from support.system import running_system

import benchmarks

SHARED = {"measure", "__main__"}


def main() -> int:
    """Run the named benchmarks, or all, in one system."""
    names = sorted(module.name for module in pkgutil.iter_modules(benchmarks.__path__) if module.name not in SHARED)
    missed = 0
    with running_system() as system:
        with images.busybox().open("rb") as archive:
            system.run("image", "load", stdin=archive)
        for name in sys.argv[1:] or names:
            print(f"-- {name}", flush=True)
            for result in importlib.import_module(f"benchmarks.{name}").measure(system):
                print(result, flush=True)
                missed += not result.kept
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
