"""The command line: find the verb, import it alone, run it, map every outcome to an exit code (contract 1.3)."""

from __future__ import annotations

import os
import sys

from container.cli import client, commands, failures, output
from container.cli.commands import Noun, Verb
from container.cli.leave import BROKEN_PIPE_EXIT, FAILURE_EXIT, catch_ending_signals, leave
from container.cli.parser import HelpRequested, parse
from container.cli.usage import UsageError, synopsis

USAGE_EXIT = 64
INTERRUPT_EXIT = 130


def main(words: list[str] | None = None) -> int:
    """Run the command that `words` name; returns the exit code. Without any: those of this process, which ends here."""
    if words is None:
        leave(_outcome(sys.argv[1:]))
    return _outcome(words)


def _outcome(words: list[str]) -> int:
    catch_ending_signals()
    try:
        _occupy_standard_streams()
        return _run(words)
    except failures.Exit as leave:
        return leave.code
    except UsageError as error:
        output.error_line(error.text())
        return USAGE_EXIT
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the flush at exit must not fail again
        return BROKEN_PIPE_EXIT
    except KeyboardInterrupt:
        return INTERRUPT_EXIT
    except Exception as error:
        output.error_line(failures.text(error))
        return FAILURE_EXIT


def _occupy_standard_streams() -> None:
    """Open those that the caller has closed on /dev/null, so that no descriptor of ours takes their place."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(fd)


def _run(words: list[str]) -> int:
    words = list(words)
    while words and words[0].startswith("-"):
        code = _root_option(words)
        if code is not None:
            return code
    if not words:
        return _show_help("container", commands.ROOT)
    node = commands.ROOT.find(words[0])
    if node is None:
        from container.cli import aliases

        return aliases.run(words, _run)
    return _descend(f"container {node.name}", node, words[1:])


def _root_option(words: list[str]) -> int | None:
    """Handle an option before the command; an exit code when that was all there is to do."""
    word = words.pop(0)
    if word == "--debug":
        _enable_debug()
        return None
    if word in ("-h", "--help"):
        return _show_help("container", commands.ROOT)
    if word == "--version":
        from container.version import version_line

        output.line(version_line("container CLI"))
        return 0
    name, equals, shell = word.partition("=")
    if name == "--generate-completion-script":
        from container.cli import completion

        return completion.generate(shell if equals else (words.pop(0) if words else ""))
    raise UsageError(f"unknown option '{word}'").at("container", "container [--debug] <subcommand>")


def _descend(path: str, node: Verb | Noun, words: list[str]) -> int:
    while isinstance(node, Noun):
        if not words or words[0] in ("-h", "--help"):
            return _show_help(path, node)
        word = words.pop(0)
        if word == "--debug":
            _enable_debug()
            continue
        child = node.find(word)
        if child is None:
            from container.cli import aliases

            return aliases.run_below(path, node, [word, *words], _run)
        path, node = f"{path} {child.name}", child
    return _run_verb(path, node, words)


def _run_verb(path: str, verb: Verb, words: list[str]) -> int:
    command = verb.load()
    try:
        values = parse(command, words)
        if values.debug:
            _enable_debug()
        client.watch_signals()
        return command.run(values)
    except HelpRequested:
        return _show_help(path, verb)
    except UsageError as error:
        raise error.at(path, synopsis(path, command)) from None


def _show_help(path: str, node: Verb | Noun) -> int:
    from container.cli import help

    output.write(help.node_help(path, node))
    return 0


def _enable_debug() -> None:
    from container.cli import logger

    logger.enable_debug()


if __name__ == "__main__":
    sys.exit(main())
