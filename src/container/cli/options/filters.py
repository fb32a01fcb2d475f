"""`--filter key=value` of the lists. The values of a key are alternatives; those of `label` must all be there."""

from __future__ import annotations

from container.cli.spec import Option
from container.cli.usage import alternatives

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    Tests = Mapping[str, Callable[[Any, str], bool]]

LABEL = "label"
TRUTH = {"true": True, "1": True, "false": False, "0": False}


def option(*keys: str) -> Option:
    """The option, for a list that filters by `keys`."""

    def parse(word: str) -> tuple[str, str]:
        key, equals, value = word.partition("=")
        if not equals or key not in keys:
            raise ValueError(f"expected key=value with one of the keys {alternatives(keys)}")
        return key, value

    text = f"Only those with key=value, by {', '.join(keys)}"
    return Option("filter", "-f, --filter", text, value="filter", many=True, parse=parse)


def select(items: Sequence[Any], given: Sequence[tuple[str, str]], tests: Tests) -> list[Any]:
    """The items that pass."""
    wanted: dict[str, list[str]] = {}
    for key, value in given:
        wanted.setdefault(key, []).append(value)
    return [item for item in items if all(_passes(item, key, values, tests) for key, values in wanted.items())]


def _passes(item: Any, key: str, values: list[str], tests: Tests) -> bool:
    return (all if key == LABEL else any)(tests[key](item, value) for value in values)


def label(labels: Mapping[str, str], wanted: str) -> bool:
    """Whether there is `key`, or `key=value`."""
    key, equals, value = wanted.partition("=")
    return key in labels and (not equals or labels[key] == value)
