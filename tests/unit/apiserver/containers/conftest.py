"""A containers service with real records in a temporary app root, and fakes at the seams between processes."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from unit.apiserver.containers.house import House

from container.paths import Roots


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    """Roots below a temporary directory."""
    return Roots(*(str(tmp_path / name) for name in ("app", "run", "install", "log", "config.toml")))


@pytest.fixture
async def house(roots: Roots) -> AsyncIterator[House]:
    """A running service."""
    async with House(roots) as opened:
        yield opened
