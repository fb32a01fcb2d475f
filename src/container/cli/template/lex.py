"""A template's text to pieces: what stands outside `{{ }}`, and the words inside."""

from __future__ import annotations

import json
import re

from container.cli.template.values import TemplateError

_WORD = re.compile(
    r"""(?P<blank>\s+)
    | (?P<string>"(?:[^"\\\n]|\\.)*" | `[^`]*`)
    | (?P<number>[+-]?\d+(?:\.\d+)?)
    | (?P<field>\.[A-Za-z_]\w*)
    | (?P<dot>\.)
    | (?P<variable>\$\w*)
    | (?P<name>[A-Za-z_]\w*)
    | (?P<mark>:=|[(),|=])""",
    re.VERBOSE,
)
_ESCAPES = {r"\t": "\t", r"\n": "\n"}


class Word:
    """A word inside an action: its kind (string, number, field, dot, variable, name, mark) and its value.

    `glued`: it follows the one before it without a blank, as `.b` does in `$a.b`.
    """

    __slots__ = ("glued", "kind", "value")

    def __init__(self, kind: str, value: str, glued: bool) -> None:
        self.kind = kind
        self.value = value
        self.glued = glued


def pieces(text: str) -> list[str | list[Word]]:
    """Text and actions in order. `\\t` and `\\n` in the text are a tab and a newline, as docker has it."""
    found: list[str | list[Word]] = []
    at, trim = 0, False
    while True:
        start = text.find("{{", at)
        plain = text[at:] if start < 0 else text[at:start]
        for escape, letter in _ESCAPES.items():
            plain = plain.replace(escape, letter)
        trims_left = start >= 0 and re.match(r"\{\{-\s", text[start:]) is not None
        plain = plain.lstrip() if trim else plain
        found.append(plain.rstrip() if trims_left else plain)
        if start < 0:
            return found
        words, at, trim = _action(text, start + (3 if trims_left else 2))
        if words:
            found.append(words)


def _action(text: str, at: int) -> tuple[list[Word], int, bool]:
    """The words up to `}}`, where the text goes on, and whether its blanks go."""
    comment = re.compile(r"\s*/\*.*?\*/\s*?( -)?\}\}", re.DOTALL).match(text, at)
    if comment is not None:
        return [], comment.end(), comment[1] is not None
    words: list[Word] = []
    glued = False
    while True:
        end = re.compile(r"(\s+-)?\s*\}\}").match(text, at)
        if end is not None:
            if not words:
                raise TemplateError("there is an empty action {{}}")
            return words, end.end(), end[1] is not None
        match = _WORD.match(text, at)
        if match is None:
            if at >= len(text):
                raise TemplateError("an action is not closed: }} is missing")
            raise TemplateError(f"unexpected {text[at]!r} in an action")
        kind = match.lastgroup or ""
        if kind != "blank":
            words.append(Word(kind, _value(kind, match[0]), glued))
        glued = kind != "blank"
        at = match.end()


def _value(kind: str, text: str) -> str:
    if kind != "string" or text.startswith("`"):
        return text.strip("`") if kind == "string" else text
    try:
        return str(json.loads(text))
    except ValueError as error:
        raise TemplateError(f"bad string {text}") from error
