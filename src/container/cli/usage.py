"""Command-line errors (exit code 64) and the texts that go with them (contract 1.4)."""

from __future__ import annotations

from container.cli.spec import HELP, Argument, Command, Option

SIMILAR = 4  # an unknown option is answered with a suggestion below this edit distance
SHOWN_OPTIONS = 12  # a synopsis with more options than this names only the positionals


class UsageError(Exception):
    """A word on the command line is wrong; `help` is the `Help:` line, `usage` the synopsis, `path` the command."""

    def __init__(self, message: str, *, help: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.help = help
        self.usage: str | None = None
        self.path: str | None = None

    def at(self, path: str, usage: str) -> UsageError:
        """The same error, told of the command it happened in (the innermost wins)."""
        if self.path is None:
            self.path, self.usage = path, usage
        return self

    def text(self) -> str:
        """All lines for standard error, without the final newline."""
        lines = [f"Error: {self.message}"]
        if self.help is not None:
            lines.append(f"Help:  {self.help}")
        if self.path is not None:
            lines.append(f"Usage: {self.usage}")
            lines.append(f"  See '{self.path} --help' for more information.")
        return "\n".join(lines)


def option_help(option: Option, name: str) -> str:
    """The text of a `Help:` line for an option typed as `name`."""
    return f"{option.synopsis(name)}  {option.help}"


def unknown_option(name: str, options: list[Option]) -> UsageError:
    """`Unknown option '--x'`, with why there is none, or else the nearest long option if there is one near enough."""
    from container.cli.options.absent import REASONS

    message = f"Unknown option '{name}'"
    if name in REASONS:
        message += f". {REASONS[name]}."
    elif name.startswith("--"):
        known = [other for option in [*options, HELP] for other in option.names if other.startswith("--")]
        ranked = sorted((edit_distance(name, other), index) for index, other in enumerate(known))
        if ranked and ranked[0][0] < SIMILAR:
            message += f". Did you mean '{known[ranked[0][1]]}'?"
    return UsageError(message)


def missing_value(option: Option, name: str) -> UsageError:
    """`Missing value for '--format <format>'`."""
    return UsageError(f"Missing value for '{option.synopsis(name)}'", help=option_help(option, name))


def unexpected_value(name: str, value: str) -> UsageError:
    """A flag got `=value`."""
    return UsageError(f"The option '{name}' does not take any value, but '{value}' was specified.")


def invalid_value(option: Option, name: str, value: str, why: str) -> UsageError:
    """`The value 'v' is invalid for '--o <o>'`, with the allowed words or the reason."""
    message = f"The value '{value}' is invalid for '{option.synopsis(name)}'"
    if why:
        message += f": {why}"
    elif option.choices:
        message += f". Please provide one of {alternatives(option.choices)}."
    return UsageError(message, help=option_help(option, name))


def alternatives(words: tuple[str, ...]) -> str:
    """`'a' and 'b'`, `'a', 'b' or 'c'`."""
    quoted = [f"'{word}'" for word in words]
    return " and ".join(quoted) if len(quoted) < 3 else ", ".join(quoted[:-1]) + f" or {quoted[-1]}"


def missing_argument(argument: Argument) -> UsageError:
    """`Missing expected argument '<image>'`."""
    return UsageError(f"Missing expected argument '{argument.synopsis()}'", help=f"<{argument.value}>  {argument.help}")


def unexpected_arguments(words: list[str]) -> UsageError:
    """`Unexpected argument 'x'`, `2 unexpected arguments: 'a', 'b'`."""
    if len(words) == 1:
        return UsageError(f"Unexpected argument '{words[0]}'")
    return UsageError(f"{len(words)} unexpected arguments: " + ", ".join(f"'{word}'" for word in words))


def synopsis(path: str, command: Command) -> str:
    """`container list [--all] [--format <format>]`."""
    shown = [option for option in command.options if not option.hidden]
    words = [path]
    if len(shown) > SHOWN_OPTIONS:
        words.append("[<options>]")
    else:
        words += [f"[{option.synopsis()}{' ...' if option.many else ''}]" for option in shown]
    for argument in command.arguments:
        words.append(f"[{argument.synopsis()}]" if argument.optional else argument.synopsis())
    return " ".join(words)


def edit_distance(left: str, right: str) -> int:
    """Levenshtein distance."""
    previous = list(range(len(right) + 1))
    for row, a in enumerate(left, 1):
        current = [row]
        for column, b in enumerate(right, 1):
            current.append(min(previous[column] + 1, current[-1] + 1, previous[column - 1] + (a != b)))
        previous = current
    return previous[-1]
