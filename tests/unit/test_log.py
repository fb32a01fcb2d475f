"""Log lines as contract 1.4 has them."""

import logging
import re
import sys

import pytest

from container.log import LineFormatter, fields, setup


def record(message: str, extra: dict[str, object] | None = None, **options: object) -> logging.LogRecord:
    logger = logging.Logger("x")
    return logger.makeRecord("x", logging.INFO, "f", 1, message, (), options.get("exc_info"), extra=extra)  # type: ignore[arg-type]


def test_metadata_is_appended_with_sorted_keys() -> None:
    line = LineFormatter(timestamps=False).format(record("stopping", fields(b=2, a="x")))
    assert line == 'stopping: ["a": "x", "b": "2"]'


def test_each_line_has_the_time_in_utc_with_milliseconds() -> None:
    try:
        raise ValueError("why")
    except ValueError:
        text = LineFormatter(timestamps=True).format(record("failed", exc_info=sys.exc_info()))
    lines = text.split("\n")
    assert len(lines) > 2
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z ", line) for line in lines)


@pytest.mark.parametrize(("debug", "variable"), [(True, None), (False, ""), (False, None)])
def test_debug_lines_appear_when_asked_for(
    debug: bool, variable: str | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("CONTAINER_DEBUG", raising=False)
    if variable is not None:
        monkeypatch.setenv("CONTAINER_DEBUG", variable)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        setup(debug=debug, timestamps=False)
        logging.getLogger("container.x").debug("detail")
        logging.getLogger("container.x").info("news")
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    lines = capsys.readouterr().err.splitlines()
    if debug or variable is not None:
        assert [line[25:] for line in lines] == ["detail", "news"]
    else:
        assert lines == ["news"]
