"""How much processor time starts of machines of one shape take on this host: `<cache>/pace-<shape>.json`.

A start that is restored (`vm.saved`) and one that boots have each their own figure. It is a moving average, and is lost
without harm: then it is measured anew.
"""

import json
import logging
import os
from typing import Any

from container.errors import ContainerError
from container.vm.initramfs import forget_oldest
from container.vm.saved import shape
from container.vm.spec import VMSpec

_PREFIX = "pace-"
_KEPT = 16  # shapes
_WEIGHT = 0.25  # of the latest start
_STALLS = 2  # in a row, of starts from one saved machine: then it seems to be at fault
_NOTABLE = 0.2  # share by which a figure must have changed to be written down

_log = logging.getLogger(__name__)


class Pace:
    """The figures of one shape."""

    @classmethod
    def of(cls, spec: VMSpec, cache: str) -> "Pace":
        """The figures for machines like `spec`. Blocks, for a small file."""
        try:
            key = shape(spec)
        except (OSError, ContainerError):  # no QEMU, no kernel: the start will tell
            key = "none"
        return cls(os.path.join(cache, f"{_PREFIX}{key}.json"))

    def __init__(self, path: str) -> None:
        self._path = path
        self._kept: dict[str, Any] = {}
        try:
            with open(self._path, encoding="utf-8") as file:
                self._kept = dict(json.load(file))
        except FileNotFoundError:
            pass
        except (OSError, ValueError, TypeError) as error:
            _log.debug("%s: %s", self._path, error)

    def usual(self, *, restored: bool) -> float | None:
        """Processor seconds from QEMU's start until the container's process runs; None: not known."""
        value = self._kept.get(_name(restored))
        return float(value) if isinstance(value, int | float) else None

    def took(self, seconds: float, *, restored: bool) -> None:
        """A start went well."""
        usual = self.usual(restored=restored)
        average = seconds if usual is None else usual + _WEIGHT * (seconds - usual)
        stalls = 0 if restored else self._stalls  # in a row
        if usual is None or abs(average - usual) > _NOTABLE * usual or stalls != self._stalls:
            self._write({_name(restored): round(average, 3), "stalls": stalls})

    @property
    def _stalls(self) -> int:
        value = self._kept.get("stalls")
        return value if isinstance(value, int) else 0

    def stalled(self) -> bool:
        """A restored start hung. True: the saved machine is to be dropped; the next one's are counted anew."""
        stalls = self._stalls + 1
        enough = stalls >= _STALLS
        self._write({"stalls": 0 if enough else stalls})
        return enough

    def _write(self, change: dict[str, float]) -> None:
        self._kept |= change
        beside = f"{self._path}.{os.getpid()}"
        try:
            with open(beside, "w", encoding="utf-8") as file:
                json.dump(self._kept, file)
            os.replace(beside, self._path)  # not synced: see above
            forget_oldest(os.path.dirname(self._path), _PREFIX, _KEPT)
        except OSError as error:
            _log.debug("%s: %s", self._path, error)


def _name(restored: bool) -> str:
    return "restored" if restored else "booted"
