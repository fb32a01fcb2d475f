"""Help texts: OVERVIEW, USAGE, ARGUMENTS, OPTIONS or titled groups, SUBCOMMANDS (contract 1.6)."""

from __future__ import annotations

import os

from container.cli import commands, usage
from container.cli.commands import Noun, Verb
from container.cli.spec import DEBUG, HELP, VERSION, Command, Option

LABEL_WIDTH = 26
DEFAULT_WIDTH = 80
PLUGIN_WIDTH = 24


def screen_width() -> int:
    """Columns of the terminal on standard output; 80 when it is none."""
    try:
        return os.get_terminal_size(1).columns or DEFAULT_WIDTH
    except OSError:
        return DEFAULT_WIDTH


def wrap(text: str, width: int, indent: int) -> list[str]:
    """Lines of at most `width` columns, each behind `indent` blanks."""
    lines, current = [], ""
    for word in text.split():
        if current and len(current) + 1 + len(word) > width - indent:
            lines.append(current)
            current = word
        else:
            current = f"{current} {word}" if current else word
    return [" " * indent + each for each in [*lines, current] if each]


def _entry(label: str, text: str, width: int) -> list[str]:
    head = f"  {label}"
    lines = wrap(text, width, LABEL_WIDTH)
    if not lines:
        return [head]
    if len(head) < LABEL_WIDTH:
        return [head.ljust(LABEL_WIDTH) + lines[0][LABEL_WIDTH:], *lines[1:]]
    return [head, *lines]


def _section(title: str, entries: list[tuple[str, str]], width: int) -> list[str]:
    if not entries:
        return []
    return ["", f"{title}:", *(line for label, text in entries for line in _entry(label, text, width))]


def _option_entry(option: Option) -> tuple[str, str]:
    label = ", ".join(option.names) + (f" <{option.value}>" if option.value else "")
    text = option.help
    if option.choices:
        text += f" (values: {', '.join(option.choices)}; default: {option.default})"
    elif option.value and option.default not in (None, [], ""):
        text += f" (default: {option.default})"
    elif unset := option.unset if isinstance(option.unset, str) else option.unset():
        text += f" (default: {unset})"
    return label, text


def _option_groups(options: list[Option]) -> list[tuple[str, list[tuple[str, str]]]]:
    groups: dict[str, list[tuple[str, str]]] = {}
    for option in options:
        if not option.hidden:
            groups.setdefault(option.group, []).append(_option_entry(option))
    last = groups.pop("OPTIONS", [])
    return [*groups.items(), ("OPTIONS", last)]


def _overview(abstract: str, discussion: str, width: int) -> list[str]:
    lines = wrap(f"OVERVIEW: {abstract}", width, 0)
    for paragraph in discussion.split("\n\n") if discussion else []:
        lines += ["", *wrap(paragraph, width, 0)]
    return [*lines, ""]


def command_help(path: str, command: Command) -> str:
    """Help of a verb."""
    width = screen_width()
    lines = _overview(command.abstract, command.discussion, width)
    lines.append(f"USAGE: {usage.synopsis(path, command)}")
    arguments = [(f"<{argument.value}>", argument.help) for argument in command.arguments]
    lines += _section("ARGUMENTS", arguments, width)
    for title, entries in _option_groups([*command.options, HELP]):
        lines += _section(title, entries, width)
    return "\n".join(lines) + "\n"


def _children(nodes: list[Verb | Noun]) -> list[tuple[str, str]]:
    shown = [node for node in nodes if node.name not in commands.HIDDEN]
    return [(", ".join([node.name, *node.aliases]), node.abstract) for node in shown]


def noun_help(path: str, noun: Noun) -> str:
    """Help of a command that only has commands below it."""
    width = screen_width()
    lines = [*_overview(noun.abstract, "", width), f"USAGE: {path} [--debug] <subcommand>"]
    lines += _section("OPTIONS", [_option_entry(DEBUG), _option_entry(HELP)], width)
    lines += _section("SUBCOMMANDS", _children(noun.children), width)
    program, _, rest = path.partition(" ")
    lines += ["", f"  See '{program} help {rest} <subcommand>' for detailed help."]
    return "\n".join(lines) + "\n"


def root_help() -> str:
    """Help of the program: the groups of commands, then the plugins, for which the API server is asked."""
    from container.cli import plugin

    width = screen_width()
    lines = [*_overview(commands.ROOT.abstract, "", width), "USAGE: container [--debug] <subcommand>"]
    lines += _section("OPTIONS", [_option_entry(each) for each in (DEBUG, VERSION, HELP)], width)
    for title, children in commands.GROUPS:
        lines += _section(f"{title} SUBCOMMANDS", _children(children), width)
    plugins = plugin.installed()
    if plugins is None:
        lines += ["", "PLUGINS: not available, run `container system start`"]
    elif plugins:
        lines += ["", "PLUGINS:", *(f"  {each['name']:<{PLUGIN_WIDTH}}{each['abstract']}" for each in plugins)]
    lines += ["", "  See 'container help <subcommand>' for detailed help."]
    return "\n".join(lines) + "\n"


def node_help(path: str, node: Verb | Noun) -> str:
    """Help of whatever a command path leads to."""
    if node is commands.ROOT:
        return root_help()
    return noun_help(path, node) if isinstance(node, Noun) else command_help(path, node.load())
