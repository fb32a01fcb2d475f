"""The list of every error text of the code: `python tools/errors.py`, a line for each place that makes one.

A text is read from the syntax tree: names in braces stand for what is put in at run time. tests/style holds the list
against the rules that a machine can check; whether a sentence is a good one is for a reader.
"""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src" / "container"
TEXT_AT = {  # what makes an error, and which of its arguments is the text
    "ContainerError": 1,
    "ServiceLost": 0,
    "UsageError": 0,
    "WireError": 0,
    "GuestError": 1,
    "not_found": 0,
    "invalid_argument": 0,
    "invalid_state": 0,
    "internal": 0,
    "because": 0,
}


@dataclass(frozen=True)
class Text:
    """One text at one place; `made` names what makes the error."""

    path: str
    line: int
    made: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.made}: {self.text}"


def texts(root: Path = SOURCE) -> list[Text]:
    """Every error text below `root`, by path and line."""
    found = []
    for path in sorted(root.rglob("*.py")):
        tree = ast.parse(path.read_text())
        for scope, call in _calls(tree):
            made = _name(call.func)
            argument = _argument(call, TEXT_AT[made]) if made in TEXT_AT else None
            if argument is not None:
                place = str(path.relative_to(root)), call.lineno, made
                names = _assigned(tree.body) | _assigned(node for each in scope for node in ast.walk(each))
                found += [Text(*place, text) for text in _read(argument, names)]
    return found


def _calls(tree: ast.AST) -> Iterator[tuple[list[ast.stmt], ast.Call]]:
    """Each call with the statements of the innermost function around it."""

    def walk(node: ast.AST, scope: list[ast.stmt]) -> Iterator[tuple[list[ast.stmt], ast.Call]]:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            scope = node.body
        if isinstance(node, ast.Call):
            yield scope, node
        for child in ast.iter_child_nodes(node):
            yield from walk(child, scope)

    yield from walk(tree, [])


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _argument(call: ast.Call, index: int) -> ast.expr | None:
    named = [each.value for each in call.keywords if each.arg == "message"]
    return named[0] if named else call.args[index] if len(call.args) > index else None


def _assigned(nodes: Iterable[ast.AST]) -> dict[str, list[ast.expr]]:
    """What these nodes assign to each name."""
    found: dict[str, list[ast.expr]] = {}
    for node in nodes:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found.setdefault(node.targets[0].id, []).append(node.value)
    return found


def _read(node: ast.expr, names: dict[str, list[ast.expr]]) -> list[str]:
    """The texts that an expression can have; what is known only at run time is in braces."""
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.JoinedStr(values=parts):
            return ["".join(_part(part) for part in parts)]
        case ast.BinOp(op=ast.Add(), left=left, right=right):
            return [a + b for a in _read(left, names) for b in _read(right, names)]
        case ast.IfExp(body=one, orelse=other):
            return _read(one, names) + _read(other, names)
        case ast.Name(id=name) if name in names:
            rest = {key: value for key, value in names.items() if key != name}
            return [text for value in names[name] for text in _read(value, rest)]
    return [f"{{{ast.unparse(node)}}}"]


def _part(part: ast.expr) -> str:
    if isinstance(part, ast.FormattedValue):
        return f"{{{ast.unparse(part.value)}{'!r' if part.conversion == ord('r') else ''}}}"
    return str(part.value) if isinstance(part, ast.Constant) else ""


if __name__ == "__main__":
    for each in texts():
        print(each)
