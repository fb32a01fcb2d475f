"""Templates to functions: each part becomes a function of the scope that it is carried out in."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from container.cli.template.functions import FUNCTIONS, PRINTING
from container.cli.template.lex import Word, pieces
from container.cli.template.values import MISSING, NO_ARGUMENT, Heading, Method, Record, TemplateError, field, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

BLOCKS = ("if", "range", "with")


class Scope:
    """What a part of a template sees: the dot, and the variables of its block and of those around it."""

    def __init__(self, dot: Any, variables: dict[str, Any], around: Scope | None = None) -> None:
        self.dot = dot
        self.variables = variables
        self.around = around

    def inner(self, dot: Any, variables: dict[str, Any]) -> Scope:
        """A block inside: what it declares is gone after it, what it sets is not."""
        return Scope(dot, variables, self)

    def holder(self, name: str) -> dict[str, Any]:
        """The variables among which one was declared. Raises TemplateError."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.variables:
                return scope.variables
            scope = scope.around
        raise TemplateError(f"there is no variable {name}")


Value = Callable[[Scope], "Any"]
Text = Callable[[Scope], str]


def parse(text: str) -> Callable[[Any], str]:
    """The function that a template is. Raises TemplateError; so does the function."""
    parser = _Parser(pieces(text))
    body, end = parser.block()
    if end:
        raise TemplateError(f"{{{{{end[0].value}}}}} has nothing to end")
    return lambda record: body(Scope(record, {"$": record}))


class _Parser:
    """Reads pieces in order; used once."""

    def __init__(self, parts: list[str | list[Word]]) -> None:
        self._parts = parts

    def block(self) -> tuple[Text, list[Word]]:
        """Everything up to an `end` or `else`, whose words are the second value; none at the end of the text."""
        steps: list[Text] = []
        end: list[Word] = []
        while self._parts:
            part = self._parts.pop(0)
            if isinstance(part, str):
                steps.append(lambda scope, part=part: part)  # type: ignore[misc]
                continue
            head = part[0]
            if head.kind == "name" and head.value in ("end", "else"):
                end = part
                break
            if head.kind == "name" and head.value in BLOCKS:
                steps.append(self._construct(head.value, _Words(part[1:])))
            else:
                steps.append(_statement(_Words(part)))
        return lambda scope: "".join([step(scope) for step in steps]), end

    def _construct(self, kind: str, words: _Words) -> Text:
        names, _ = words.assigned()
        value = words.pipeline()
        words.finish()
        body, end = self.block()
        otherwise: Text = lambda scope: ""  # noqa: E731
        if not end:
            raise TemplateError(f"{{{{{kind}}}}} has no {{{{end}}}}")
        if end[0].value == "else":
            if len(end) > 1 and end[1].value in BLOCKS:
                otherwise = self._construct(end[1].value, _Words(end[2:]))
            else:
                otherwise, end = self.block()
                if not end or end[0].value != "end":
                    raise TemplateError(f"{{{{{kind}}}}} has no {{{{end}}}}")
        if kind == "range":
            return _range(names, value, body, otherwise)

        def choose(scope: Scope) -> str:
            found = value(scope)
            inner = scope.inner(found if kind == "with" else scope.dot, dict.fromkeys(names, found))
            return body(inner) if _true(found) else otherwise(scope)

        return choose


def _true(value: Any) -> bool:
    return bool(value.json) if isinstance(value, Record) else bool(value)


def _range(names: list[str], value: Value, body: Text, otherwise: Text) -> Text:
    def each(scope: Scope) -> str:
        found = value(scope)
        found = found.json if isinstance(found, Record) else found
        if isinstance(found, Mapping):
            items = [(key, found[key]) for key in sorted(found)]
        elif isinstance(found, int) and not isinstance(found, bool):
            items = list(enumerate(range(found)))
        elif isinstance(found, list):
            items = list(enumerate(found))
        elif found is MISSING or found is None or isinstance(found, Heading):
            items = []
        else:
            raise TemplateError(f"range cannot go over {show(found)!r}")
        if not items:
            return otherwise(scope)
        done = []
        for pair in items:
            given = dict(zip(names, pair if len(names) == 2 else pair[1:], strict=False))
            done.append(body(scope.inner(pair[1], given)))
        return "".join(done)

    return each


def _statement(words: _Words) -> Text:
    names, declares = words.assigned()
    value = words.pipeline()
    words.finish()
    if not names:
        return lambda scope: show(value(scope))

    def assign(scope: Scope) -> str:
        variables = scope.variables if declares else scope.holder(names[0])
        variables[names[0]] = value(scope)
        return ""

    return assign


class _Words:
    """The words of one action."""

    def __init__(self, words: list[Word]) -> None:
        self._words = words

    def _next(self) -> Word | None:
        return self._words[0] if self._words else None

    def finish(self) -> None:
        """Raise TemplateError for words that nothing took."""
        if self._words:
            raise TemplateError(f"unexpected {self._words[0].value!r} in an action")

    def assigned(self) -> tuple[list[str], bool]:
        """The variables of `$a :=`, `$a, $b :=`, `$a =`, none without that; and whether they are new."""
        kinds = [(word.kind, word.value) for word in self._words[:4]]
        for count in (1, 2):
            marks = kinds[2 * count - 1 : 2 * count]
            if marks in ([("mark", ":=")], [("mark", "=")]) and kinds[0][0] == "variable":
                names = [word.value for word in self._words[: 2 * count - 1 : 2]]
                del self._words[: 2 * count]
                return names, marks[0][1] == ":="
        return [], False

    def pipeline(self) -> Value:
        """Commands, each with the value of the one before it as its last argument."""
        value = self._command(None)
        while (word := self._next()) is not None and word.value == "|" and word.kind == "mark":
            self._words.pop(0)
            value = self._command(value)
        return value

    def _command(self, before: Value | None) -> Value:
        first, *arguments = self._operands()
        if before is not None:
            arguments.append(before)
        return lambda scope: _call(first(scope), [argument(scope) for argument in arguments])

    def _operands(self) -> list[Value]:
        operands: list[Value] = []
        while (word := self._next()) is not None and not (word.kind == "mark" and word.value in "|)"):
            operand = self._operand(self._words.pop(0), head=not operands)
            while (word := self._next()) is not None and word.kind == "field" and word.glued:
                operand = _field_of(operand, self._words.pop(0).value[1:])
            operands.append(operand)
        if not operands:
            raise TemplateError("a value is missing in an action")
        return operands

    def _operand(self, word: Word, *, head: bool) -> Value:
        text = word.value
        if word.kind == "string":
            return lambda scope: text
        if word.kind == "number":
            number = float(text) if "." in text else int(text)
            return lambda scope: number
        if word.kind == "dot":
            return lambda scope: scope.dot
        if word.kind == "field":
            return lambda scope: field(scope.dot, text[1:])
        if word.kind == "variable":
            return lambda scope: scope.holder(text)[text]
        if word.kind == "name":
            return _named(text, head=head)
        if text == "(":
            value = self.pipeline()
            closing = self._words.pop(0) if self._words else None
            if closing is None or closing.value != ")":
                raise TemplateError("a parenthesis is not closed")
            return value
        raise TemplateError(f"unexpected {text!r} in an action")


def _named(name: str, *, head: bool) -> Value:
    constants = {"true": True, "false": False, "nil": None}
    if name in constants:
        return lambda scope: constants[name]
    function = FUNCTIONS.get(name)
    if function is None:
        raise TemplateError(f"there is no function {name!r}; there are {', '.join(FUNCTIONS)}")
    method = Method(function)
    return (lambda scope: method) if head else (lambda scope: _call(method, []))


def _field_of(operand: Value, name: str) -> Value:
    return lambda scope: field(operand(scope), name)


def _call(value: Any, arguments: list[Any]) -> Any:
    if not isinstance(value, Method):
        if arguments and not isinstance(value, Heading):
            raise TemplateError(f"{show(value)!r} takes no arguments")
        return value
    heading = next((argument for argument in arguments if isinstance(argument, Heading)), None)
    if heading is not None and value.call not in PRINTING:
        return heading
    try:
        return value.call(*arguments)
    except TemplateError:
        raise
    except (TypeError, AttributeError, LookupError, ValueError, OverflowError) as error:
        if not arguments:
            raise TemplateError(NO_ARGUMENT) from error
        shown = " ".join(show(argument) for argument in arguments)
        raise TemplateError(f"a function does not take the arguments {shown!r}: {error}") from error
