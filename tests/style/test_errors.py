"""What a machine can say of the error texts: the list of all is in .cache/errors.txt, for a reader to look at."""

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "tools"))

import errors  # noqa: E402

TEXTS = errors.texts()
PUT_IN = re.compile(r"\{[^{}]*\}|\{.*\}$")  # at run time


def words(text: str) -> list[str]:
    """The words of a text, what is put in counting as one."""
    return PUT_IN.sub("x", text).split()


RULES = {
    "names no code": lambda text: not re.search(r"internalError|invalidArgument|invalidState|notFound", text),
    "shows no Python representation": lambda text: not re.search(r"!r\}|\brepr\(|__name__\}: |Traceback", text),
    "has no metadata in brackets": lambda text: not re.search(r'\["\w+": ', text),
    "says why": lambda text: not re.search(r"(\b(failed|error)|[:;,])\s*$", text),
    "is a sentence": lambda text: len(words(text)) > 2 or not re.search("[a-z]", PUT_IN.sub("", text)),
    "names its object": lambda text: bool(re.search(r"[{;:'`]|--", text)) or words(text)[0] in ("a", "the"),
    "is one line": lambda text: "\n" not in text or "--generate-completion-script" in text,
}


def test_the_list_is_written_for_a_reader() -> None:
    listing = ROOT / ".cache" / "errors.txt"
    listing.parent.mkdir(exist_ok=True)
    listing.write_text("".join(f"{each}\n" for each in TEXTS))
    assert len(TEXTS) > 500, "the reader of the syntax tree does not find what makes errors"


@pytest.mark.parametrize("rule", RULES)
def test_every_error_text(rule: str) -> None:
    assert [str(each) for each in TEXTS if not RULES[rule](each.text)] == []


@pytest.mark.parametrize(
    "source",
    [
        'raise internal("failed")',
        'raise invalid_argument(f"bad {word!r} in the list of them")',
        'text = f"cannot read {path}:"\nraise ContainerError(ErrorCode.INTERNAL, text)',
        'raise not_found(f"no such file as this: [\\"path\\": {path}]")',
        'raise internal(f"notFound: {path} is not here")',
    ],
)
def test_a_bad_text_is_found(source: str, tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text(source)
    (text,) = errors.texts(tmp_path)
    assert [rule for rule in RULES if not RULES[rule](text.text)]
