"""The scripts for bash and zsh, which find their way through the command line with the same lines."""

from __future__ import annotations

from container.cli.completion.tables import CONTAINER_PATH, FILE, NAMES, NOTHING, VOLUME_PATH, WORDS, Tables

# Sets `at`, the command that the words before the cursor name, `kind`, that of the word at the cursor, and `value`,
# the same when that word is the value of an option.
WALK = """\
_container_walk() {{  # WORD... before the cursor, without the program
    local word place=0 ended=""
    at="container" value=""
    for word in "$@"; do
        if [[ -n "$value" ]]; then
            value=""
        elif [[ "$word" == -- ]]; then
            ended=1
        elif [[ "$word" == -* && "$word" != - && -z "$ended" ]]; then
            _container_value "$word"
            value="$kind"
        else
            case "$at $word" in
{steps}
                *) place=$((place + 1)) ;;
            esac
            case "$at" in
                {passthrough}) [[ $place -eq 0 ]] || {{ kind="{file}"; return; }} ;;
            esac
        fi
    done
    kind="$value"
    [[ -z "$value" ]] || return 0
    case "$at $place" in
{places}
        *) kind="" ;;
    esac
    [[ -z "$ended" ]] || value="${{kind:-{nothing}}}"  # no option may come
}}
_container_value() {{  # OPTION: sets `kind` to that of its value, to nothing for a flag
    case "$at $1" in
{values}
        *) kind="" ;;
    esac
}}
_container_words() {{  # KIND: prints the words of a kind
    case "$1" in
{names}
        "{words}"*) printf '%s\\n' ${{=1#{words}}} ;;
    esac 2>/dev/null
}}
_container_commands() {{
    case "$at" in
{commands}
    esac
}}
_container_options() {{
    case "$at" in
{options}
    esac
}}
"""

BASH = """\
# bash completion of container
{walk}\
_container() {{
    local IFS=$' \\t\\n' program="${{COMP_WORDS[0]}}" line="${{COMP_LINE:0:${{COMP_POINT:-0}}}}"
    local words=("${{COMP_WORDS[@]:0:COMP_CWORD+1}}") at kind value current before=""
    if [[ -n "$line" ]]; then  # the words as they were typed, which COMP_WORDS has in pieces
        read -ra words <<<"$line"
        [[ "$line" != *[[:space:]] ]] || words+=("")
    fi
    current="${{words[${{#words[@]}} - 1]}}"
    _container_walk "${{words[@]:1:${{#words[@]}}-2}}"
    if [[ -z "$value" && "$current" == --*=* ]]; then
        before="${{current%%=*}}"
        _container_value "$before"
        before="$before="
        current="${{current#*=}}"
    elif [[ -z "$value" && "$current" == -* ]]; then
        kind="options"
    fi
    COMPREPLY=()
    case "$kind" in
        "") COMPREPLY=($(compgen -W "$(_container_commands)" -- "$current")) ;;
        options) COMPREPLY=($(compgen -W "$(_container_options)" -- "$current")) ;;
        {nothing}) ;;
        {file}) _container_files ;;
        {container_path}) _container_paths "container" ;;
        {volume_path}) _container_paths "volume" ;;
        *) _container_names "" "$kind" ;;
    esac
    # bash replaces what follows the last of its word breaks only
    if [[ "$COMP_WORDBREAKS" == *:* && "$current" == *:* ]]; then
        before="${{current%"${{current##*:}}"}}"
        COMPREPLY=("${{COMPREPLY[@]#"$before"}}")
    fi
}}
_container_names() {{  # SUFFIX KIND: the names that fit; compgen -W would expand what is in them
    local name
    while IFS= read -r name; do
        if [[ "$name" == "$current"* ]]; then COMPREPLY+=("$name$1"); fi
    done < <(_container_words "$2")
}}
_container_files() {{
    local IFS=$'\\n'
    compopt -o filenames
    COMPREPLY+=($(compgen -f -- "$current"))
}}
_container_paths() {{  # KIND: names of a kind with a colon, else files
    [[ "$current" != *:* ]] || return 0
    if [[ "$current" != */* && "$current" != .* ]]; then
        _container_names : "$1"
    fi
    if [[ ${{#COMPREPLY[@]}} -gt 0 ]]; then compopt -o nospace; else _container_files; fi
}}
complete -F _container container
"""

ZSH = """\
#compdef container
{walk}\
_container() {{
    local program="$words[1]" current="$words[CURRENT]" at kind value
    _container_walk "${{(@)words[2,CURRENT-1]}}"
    if [[ -z "$value" && "$current" == --*=* ]]; then
        _container_value "${{current%%=*}}"
        compset -P '*='
        current="${{current#*=}}"
    elif [[ -z "$value" && "$current" == -* ]]; then
        kind="options"
    fi
    case "$kind" in
        "") compadd -- ${{=$(_container_commands)}} ;;
        options) compadd -- ${{=$(_container_options)}} ;;
        {nothing}) ;;
        {file}) _files ;;
        {container_path}) _container_paths "container" ;;
        {volume_path}) _container_paths "volume" ;;
        *) compadd -- ${{(f)"$(_container_words "$kind")"}} ;;
    esac
}}
_container_paths() {{
    [[ "$current" == */* || "$current" == *:* ]] || compadd -S : -- ${{(f)"$(_container_words "$1")"}}
    [[ "$current" == *:* ]] || _files
}}
if [[ "$funcstack[1]" == _container ]]; then _container "$@"; else compdef _container container; fi
"""


def bash(tables: Tables) -> str:
    """The script for bash."""
    return BASH.format(walk=_walk(tables).replace("${=1", "${1"), **_kinds())


def zsh(tables: Tables) -> str:
    """The script for zsh: to be sourced, or to be put into a folder of `fpath` as `_container`."""
    return ZSH.format(walk=_walk(tables), **_kinds())


def _kinds() -> dict[str, str]:
    return {"nothing": NOTHING, "file": FILE, "container_path": CONTAINER_PATH, "volume_path": VOLUME_PATH}


def _walk(tables: Tables) -> str:
    return WALK.format(
        steps=_cases(tables.steps, 'at="{}"', 16),
        values=_cases(tables.values, 'kind="{}"', 8),
        places=_places(tables),
        passthrough="|".join(f'"{path}"' for path in tables.passthrough),
        names="\n".join(f'        {kind}) "$program" {command} ;;' for kind, command in NAMES.items()),
        commands=_lists(tables.commands),
        options=_lists(tables.options),
        words=WORDS,
        file=FILE,
        nothing=NOTHING,
    )


def _cases(table: dict[str, str], action: str, indent: int) -> str:
    """One `case` line for each value: what leads to it, and the action."""
    keys: dict[str, list[str]] = {}
    for key, value in table.items():
        keys.setdefault(value, []).append(f'"{key}"')
    return "\n".join(f"{' ' * indent}{'|'.join(found)}) {action.format(value)} ;;" for value, found in keys.items())


def _places(tables: Tables) -> str:
    lines = []
    for path, (kinds, repeats) in tables.places.items():
        for index, kind in enumerate(kinds):
            number = '"*' if repeats and index == len(kinds) - 1 else f'{index}"'
            lines.append(f'        "{path} {number}) kind="{kind}" ;;')
        lines.append(f'        "{path} "*) kind="{NOTHING}" ;;')
    return "\n".join(lines)


def _lists(table: dict[str, list[tuple[str, str]]]) -> str:
    return "\n".join(
        f'        "{path}") echo "{" ".join(word for word, _ in words)}" ;;' for path, words in table.items()
    )
