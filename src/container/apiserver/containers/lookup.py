"""Which container a word means: its id, or the beginning of an id that was generated."""

from collections.abc import Collection

from container.errors import invalid_argument
from container.model.ids import is_generated

MINIMUM = 4  # characters of a beginning


def full_id(word: str, ids: Collection[str]) -> str:
    """The id among `ids` that `word` means, `word` itself if it means none.

    Names that people gave are only taken whole: `delete web1` must never be `web10` because `web1` is gone already.
    Raises ContainerError(invalidArgument) for a beginning of several ids.
    """
    if word in ids or len(word) < MINIMUM:
        return word
    found = sorted(id for id in ids if id.startswith(word) and is_generated(id))
    if len(found) > 1:
        raise invalid_argument(f"container ID {word} is ambiguous, it may be {', '.join(found)}: give more of it")
    return found[0] if found else word
