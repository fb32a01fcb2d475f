"""Plugins as the command line sees them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class CLIPlugin:
    """`container <name> …` becomes `program`; `abstract` is its line in the help."""

    name: str
    abstract: str
    program: str
