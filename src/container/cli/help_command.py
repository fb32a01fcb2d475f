"""`container help [COMMAND ...]`."""

from __future__ import annotations

from container.cli import commands, help, output
from container.cli.spec import Argument, Command, Values
from container.cli.usage import UsageError


def run(values: Values) -> int:
    """Print the help of the command that a path of names or aliases leads to."""
    node: commands.Verb | commands.Noun = commands.ROOT
    path = "container"
    from container.cli import aliases

    for word in aliases.meaning(values.words) or values.words:
        child = node.find(word) if isinstance(node, commands.Noun) else None
        if child is None:
            raise UsageError(f"unknown command '{' '.join(values.words)}'")
        node, path = child, f"{path} {child.name}"
    output.write(help.node_help(path, node))
    return 0


COMMAND = Command(
    "Show help for a command",
    run,
    arguments=[Argument("words", "command", "The command to explain", many=True, optional=True, default=[])],
)
