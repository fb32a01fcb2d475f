"""Completion scripts for bash, zsh and fish, made from the command table: commands, options, and names."""

from __future__ import annotations

from container.cli import output
from container.cli.usage import UsageError

SHELLS = ("bash", "zsh", "fish")


def generate(shell: str) -> int:
    """Print the script for a shell. Raises UsageError for a shell that is not known."""
    if shell not in SHELLS:
        raise UsageError(
            f"Can't generate completion scripts for '{shell}'.\n"
            "Please use --generate-completion-script=<shell> with one of:\n"
            f"    {' '.join(SHELLS)}"
        )
    from container.cli.completion import fish, posix
    from container.cli.completion.tables import Tables

    output.write({"bash": posix.bash, "zsh": posix.zsh, "fish": fish.script}[shell](Tables()))
    return 0
