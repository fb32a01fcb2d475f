"""The script for fish: one function that says what may stand at the cursor, with descriptions."""

from __future__ import annotations

from container.cli.completion.tables import CONTAINER_PATH, FILE, NAMES, NOTHING, VOLUME_PATH, WORDS, Tables

SCRIPT = """\
# fish completion of container
function __container_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l program $words[1]
    set -l at container
    set -l value ""
    set -l place 0
    set -l kind ""
    for word in $words[2..-1]
        if test -n "$value"
            set value ""
        else if string match -q -- '-?*' $word
            set value (__container_value $at $word)
        else
            switch "$at $word"
{steps}
                case '*'
                    set place (math $place + 1)
            end
            if contains -- "$at" {passthrough}; and test $place -gt 0
                __fish_complete_path $current
                return
            end
        end
    end
    set kind $value
    if test -z "$kind"
        if string match -q -- '--*=*' $current
            set -l parts (string split -m 1 = -- $current)
            set kind (__container_value $at $parts[1])
            __container_words $kind $program | string replace -r '^' -- "$parts[1]="
            return
        end
        if string match -q -- '-*' $current
            __container_options $at
            return
        end
        switch "$at $place"
{places}
        end
    end
    switch "$kind"
        case ''
            __container_commands $at
        case {file}
            __fish_complete_path $current
        case {container_path} {volume_path}
            if not string match -q -- '*[/:]*' $current
                __container_words (string replace -- -path '' $kind) $program | string replace -r '$' :
            end
            __fish_complete_path $current
        case '*'
            __container_words $kind $program
    end
end
function __container_value
    switch "$argv"
{values}
    end
end
function __container_words
    switch "$argv[1]"
{names}
        case '{words}*'
            string split ' ' -- (string replace -- '{words}' '' $argv[1])
    end
end
function __container_commands
    switch "$argv"
{commands}
    end
end
function __container_options
    switch "$argv"
{options}
    end
end
complete -c container -f -a '(__container_complete)'
"""


def script(tables: Tables) -> str:
    """The script for fish."""
    return SCRIPT.format(
        steps=_cases(tables.steps, "set at '{}'", 16),
        values=_cases(tables.values, "echo '{}'", 8),
        places=_places(tables),
        passthrough=" ".join(f"'{path}'" for path in tables.passthrough),
        names="\n".join(
            f"        case {kind}\n            $argv[2] {command} 2>/dev/null" for kind, command in NAMES.items()
        ),
        commands=_described(tables.commands),
        options=_described(tables.options),
        words=WORDS,
        file=FILE,
        container_path=CONTAINER_PATH,
        volume_path=VOLUME_PATH,
    )


def _cases(table: dict[str, str], action: str, indent: int) -> str:
    keys: dict[str, list[str]] = {}
    for key, value in table.items():
        keys.setdefault(value, []).append(f"'{key}'")
    blanks = " " * indent
    return "\n".join(
        f"{blanks}case {' '.join(found)}\n{blanks}    {action.format(value)}" for value, found in keys.items()
    )


def _places(tables: Tables) -> str:
    lines = []
    for path, (kinds, repeats) in tables.places.items():
        for index, kind in enumerate(kinds):
            number = "*" if repeats and index == len(kinds) - 1 else str(index)
            lines.append(f"            case '{path} {number}'\n                set kind '{kind}'")
        lines.append(f"            case '{path} *'\n                set kind '{NOTHING}'")
    return "\n".join(lines)


def _described(table: dict[str, list[tuple[str, str]]]) -> str:
    return "\n".join(
        f"        case '{path}'\n            printf '%s\\t%s\\n' "
        + " ".join(f"{word} {_quote(text)}" for word, text in words)
        for path, words in table.items()
    )


def _quote(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
