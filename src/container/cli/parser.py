"""Words of a command line to values, by the rules of contract 1.2."""

from __future__ import annotations

from container.cli import usage
from container.cli.spec import HELP, Argument, Command, Option, Values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class HelpRequested(Exception):
    """`-h` or `--help` was among the words."""


class Parser:
    """Parses the words of one command; used once."""

    def __init__(self, command: Command, words: list[str]) -> None:
        self.command = command
        self.words = words
        self.next = 0
        self.by_name = {name: option for option in [HELP, *command.options] for name in (*option.names, *option.also)}
        self.help_names = [name for name in HELP.names if self.by_name[name] is HELP]
        self.short_help = False  # `-h` had a value, which only is one when everything else is there
        self.values: dict[str, Any] = {
            option.dest: [] if option.many else option.default for option in reversed(command.options)
        }
        self.positionals: list[str] = []
        self.rest_from = len(words)  # where the words of the process begin

    def parse(self) -> Values:
        """The values. Raises HelpRequested, UsageError."""
        try:
            self._words()
            self._assign_positionals()
        except usage.UsageError:
            if any(word in self.help_names for word in self.words[: self.rest_from]):
                raise HelpRequested from None
            raise
        return Values(self.values)

    def _words(self) -> None:
        options_ended = False
        while self.next < len(self.words):
            word = self.words[self.next]
            self.next += 1
            if options_ended or word == "-" or not word.startswith("-"):
                self.positionals.append(word)
                if self.command.passthrough:
                    self.rest_from = self.next
                    self.positionals += self.words[self.next :]
                    return
            elif word == "--":
                options_ended = True
            elif word.startswith("--"):
                self._long(word)
            else:
                self._short(word)

    def _long(self, word: str) -> None:
        name, equals, value = word.partition("=")
        option = self._find(name)
        if option.value is not None:
            self._store(option, name, value if equals else self._next_value(option, name))
        elif equals:
            raise usage.unexpected_value(name, value)
        else:
            self._set_flag(option)

    def _short(self, word: str) -> None:
        for index, letter in enumerate(word[1:], 2):
            name = "-" + letter
            option = self._find(name)
            if option.value is None:
                self._set_flag(option)
                continue
            joined = word[index:]
            if name == "-h":
                value = self._value_of_h(option, joined)
                self._store(option, name, value)
                return
            value = joined.removeprefix("=") if joined else self._next_value(option, name)
            self._store(option, name, value)
            return

    def _value_of_h(self, option: Option, joined: str) -> str:
        """The value of a command's own `-h`, which without one is that for help."""
        self.short_help = True
        try:
            return joined or self._next_value(option, "-h")
        except usage.UsageError:
            raise HelpRequested from None

    def _find(self, name: str) -> Option:
        option = self.by_name.get(name)
        if option is None:
            raise usage.unknown_option(name, [each for each in self.command.options if not each.hidden])
        return option

    def _set_flag(self, option: Option) -> None:
        if option is HELP:
            raise HelpRequested
        self.values[option.dest] = option.const

    def _next_value(self, option: Option, name: str) -> str:
        word = self.words[self.next] if self.next < len(self.words) else None
        if word is None or (word.startswith("-") and word != "-" and not word[1].isdigit()):
            raise usage.missing_value(option, name)
        self.next += 1
        return word

    def _store(self, option: Option, name: str, word: str) -> None:
        value: Any = word
        try:
            if word not in option.choices:
                if option.parse is not None:
                    value = option.parse(word)
                elif option.choices:
                    raise ValueError("")
        except ValueError as error:
            raise usage.invalid_value(option, name, word, str(error)) from None
        if option.many:
            self.values[option.dest].append(value)
        else:
            self.values[option.dest] = value

    def _assign_positionals(self) -> None:
        words = list(self.positionals)
        for argument in self.command.arguments:
            if not words and not argument.optional and self.short_help:
                raise HelpRequested
            self.values[argument.dest] = self._take(argument, words)
        if words:
            raise usage.unexpected_arguments(words)

    @staticmethod
    def _take(argument: Argument, words: list[str]) -> Any:
        if not words and not argument.optional:
            raise usage.missing_argument(argument)
        if argument.many:
            taken, words[:] = list(words), []
            return taken
        return words.pop(0) if words else argument.default


def parse(command: Command, words: list[str]) -> Values:
    """The values that `words` give to `command`, checked. Raises HelpRequested, UsageError."""
    values = Parser(command, words).parse()
    if command.validate is not None:
        command.validate(values)
    return values
