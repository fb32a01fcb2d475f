"""What a command accepts, as data: the parser, the help and the completion scripts read the same tables."""

from __future__ import annotations

from collections.abc import Callable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Option:
    """One option. Without `value` it is a flag that stores `const`; `many` collects values in order.

    `names` are given as in the help, `-e, --env`; those in `also` are understood too. `choices` are words that stand
    for themselves; `parse` turns any other into a value and raises ValueError with the reason (may be empty). `unset`
    is for the help: what holds without the option, as text or a function that finds it out.
    """

    __slots__ = (
        "also", "choices", "const", "default", "dest", "group", "help", "hidden", "many", "names", "parse", "unset",
        "value",
    )  # fmt: skip

    def __init__(
        self,
        dest: str,
        names: str,
        help: str,
        *,
        value: str | None = None,
        default: Any = None,
        const: Any = True,
        many: bool = False,
        parse: Callable[[str], Any] | None = None,
        choices: tuple[str, ...] = (),
        hidden: bool = False,
        unset: str | Callable[[], str] = "",
        group: str = "OPTIONS",
        also: str = "",
    ) -> None:
        self.dest = dest
        self.names = tuple(names.split(", "))
        self.help = help
        self.value = value
        self.default = default
        self.const = const
        self.many = many
        self.parse = parse
        self.choices = choices
        self.hidden = hidden
        self.unset = unset
        self.group = group
        self.also = tuple(also.split())

    @property
    def preferred(self) -> str:
        """The name that a synopsis shows: the first long one."""
        return next((name for name in self.names if name.startswith("--")), self.names[0])

    def synopsis(self, name: str | None = None) -> str:
        """`--env <env>` or `--all`, under `name` if given."""
        return f"{name or self.preferred} <{self.value}>" if self.value else (name or self.preferred)


class Argument:
    """One positional; `many` takes all the rest, `optional` may be absent."""

    __slots__ = ("default", "dest", "help", "many", "optional", "value")

    def __init__(
        self, dest: str, value: str, help: str, *, many: bool = False, optional: bool = False, default: Any = None
    ) -> None:
        self.dest = dest
        self.value = value
        self.help = help
        self.many = many
        self.optional = optional
        self.default = default

    def synopsis(self) -> str:
        """`<image>` or `<ids> ...`."""
        return f"<{self.value}> ..." if self.many else f"<{self.value}>"


class Values:
    """Parsed values, one attribute for each `dest`."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.__dict__.update(values)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


class Command:
    """A verb: `run` gets the parsed values and returns the exit code.

    With `passthrough` every word after the first positional belongs to the last one, whatever it looks like.
    `validate` runs after parsing and raises UsageError for options that do not go together.
    """

    __slots__ = ("abstract", "arguments", "discussion", "options", "passthrough", "run", "validate")

    def __init__(
        self,
        abstract: str,
        run: Callable[[Values], int],
        *,
        options: list[Option] | None = None,
        arguments: list[Argument] | None = None,
        passthrough: bool = False,
        validate: Callable[[Values], None] | None = None,
        discussion: str = "",
    ) -> None:
        self.abstract = abstract
        self.run = run
        self.options = [*(options or []), DEBUG]
        self.arguments = arguments or []
        self.passthrough = passthrough
        self.validate = validate
        self.discussion = discussion


DEBUG = Option(
    "debug", "--debug", "Show debug messages on standard error [environment: CONTAINER_DEBUG]", default=False
)
HELP = Option("help", "-h, --help", "Show this help", default=False)
VERSION = Option("version", "--version", "Show the version", default=False)


def flag(dest: str, names: str, help: str, **more: Any) -> Option:
    """An option without a value; False unless given."""
    more.setdefault("default", False)
    return Option(dest, names, help, **more)


def integer(text: str) -> int:
    """A whole number in decimal, as an option's `parse`."""
    digits = text[1:] if text[:1] in ("-", "+") else text
    if not (digits.isascii() and digits.isdigit()):
        raise ValueError("expected a whole number")
    return int(text)
