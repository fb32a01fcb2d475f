"""Completion scripts for bash, zsh and fish, made from the command table: commands, aliases and options."""

from __future__ import annotations

from container.cli import commands, output
from container.cli.commands import Noun, Verb
from container.cli.spec import DEBUG, HELP, VERSION, Option
from container.cli.usage import UsageError

SHELLS = ("bash", "zsh", "fish")

BASH = """\
# bash completion of container
_container() {{
    local word path="container" index current="${{COMP_WORDS[COMP_CWORD]}}"
    for ((index = 1; index < COMP_CWORD; index++)); do
        word="${{COMP_WORDS[index]}}"
        case "$path $word" in
{steps}
        esac
    done
    case "$path" in
{words}
    esac
    [[ ${{#COMPREPLY[@]}} -gt 0 ]] || compopt -o default
}}
complete -F _container container
"""
ZSH_HEAD = "#compdef container\nautoload -U +X bashcompinit && bashcompinit\n"


def generate(shell: str) -> int:
    """Print the script for a shell. Raises UsageError for a shell that is not known."""
    if shell not in SHELLS:
        raise UsageError(
            f"Can't generate completion scripts for '{shell}'.\n"
            "Please use --generate-completion-script=<shell> with one of:\n"
            f"    {' '.join(SHELLS)}"
        )
    script = _fish() if shell == "fish" else _bash()
    output.write(ZSH_HEAD + script if shell == "zsh" else script)
    return 0


def _nodes(path: str, node: Verb | Noun) -> list[tuple[str, Verb | Noun]]:
    found = [(path, node)]
    if isinstance(node, Noun):
        for child in node.children:
            if child.name not in commands.HIDDEN:
                found += _nodes(f"{path} {child.name}", child)
    return found


def _options(node: Verb | Noun) -> list[Option]:
    if isinstance(node, Verb):
        return [*(option for option in node.load().options if not option.hidden), HELP]
    return [DEBUG, HELP, VERSION] if node is commands.ROOT else [DEBUG, HELP]


def _bash() -> str:
    steps, words = [], []
    for path, node in _nodes("container", commands.ROOT):
        offered = [name for option in _options(node) for name in option.names]
        if isinstance(node, Noun):
            offered += [child.name for child in node.children if child.name not in commands.HIDDEN]
            for child in node.children:
                spellings = "|".join(f'"{path} {name}"' for name in (child.name, *child.aliases))
                steps.append(f'            {spellings}) path="{path} {child.name}" ;;')
        words.append(f'        "{path}") COMPREPLY=($(compgen -W "{" ".join(offered)}" -- "$current")) ;;')
    return BASH.format(steps="\n".join(steps), words="\n".join(words))


def _fish() -> str:
    lines = ["# fish completion of container", "complete -c container -f"]
    for path, node in _nodes("container", commands.ROOT):
        condition = _fish_condition(path, node)
        if isinstance(node, Noun):
            lines += [
                f"complete -c container -n '{condition}' -a {child.name} -d {_fish_quote(child.abstract)}"
                for child in node.children
                if child.name not in commands.HIDDEN
            ]
        for option in _options(node):
            names = [f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names]
            value = " -r -F" if option.value else ""
            lines.append(
                f"complete -c container -n '{condition}' {' '.join(names)}{value} -d {_fish_quote(option.help)}"
            )
    return "\n".join(lines) + "\n"


def _fish_condition(path: str, node: Verb | Noun) -> str:
    words = path.split()[1:]
    seen = "; and ".join(f"__fish_seen_subcommand_from {word}" for word in words)
    if isinstance(node, Verb):
        return seen
    children = " ".join(child.name for child in node.children)
    below = f"not __fish_seen_subcommand_from {children}"
    return f"{seen}; and {below}" if seen else below


def _fish_quote(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
