"""Tables, formats, sizes, progress lines (contract 1.5, 1.6)."""

import json
import tomllib
from typing import Any

import pytest

from container.cli import formats, output, sizes
from container.cli.progress import State, duration

ITEMS = [
    {
        "id": "web",
        "count": 1,
        "ok": True,
        "labels": {"a.b/c": "x"},
        "nets": [{"ip": "1.2.3.4/24"}],
        "empty": [],
        "nothing": {},
    }
]


def test_cells_are_padded_but_for_the_last_column() -> None:
    assert (
        output.table(("ID", "STATE"), [("a-long-id", "up"), ("b", "")])
        == "ID         STATE\na-long-id  up\nb          \n"
    )


def test_an_empty_table_is_its_header() -> None:
    assert output.table(("NETWORK", "SUBNET"), []) == "NETWORK  SUBNET\n"


def test_json_is_one_line_with_sorted_keys() -> None:
    assert output.render([{"b": 1, "a": "é"}], "json") == '[{"a":"é","b":1}]\n'
    assert output.render([], "json") == "[]\n"


def test_toml_wraps_a_list_as_items_and_round_trips() -> None:
    assert tomllib.loads(formats.toml(ITEMS)) == {"items": ITEMS}
    assert formats.toml([]) == "items = []\n"
    assert formats.toml(["a", "b"]) == 'items = ["a", "b"]\n'
    assert formats.toml({"status": "running"}) == 'status = "running"\n'


@pytest.mark.parametrize("value", [{"a": [[1, 2], ["x"]]}, {"k y": {"z": 'q"\\\n\x7f'}}, {"m": [{"x": 1}, 2]}])
def test_toml_of_odd_values_round_trips(value: dict[str, Any]) -> None:
    assert tomllib.loads(formats.toml(value)) == value


def test_yaml_is_in_block_style_and_keeps_the_order() -> None:
    assert (
        formats.yaml(ITEMS)
        == """\
- id: web
  count: 1
  ok: true
  labels:
    a.b/c: x
  nets:
  - ip: "1.2.3.4/24"
  empty: []
  nothing: {}
"""
    )
    assert formats.yaml([]) == "[]\n"


@pytest.mark.parametrize(
    "text", ["yes", "null", "1", "1e3", "", "a: b", "#x", "-", "é", "a\nb", "2026-01-01", "~", "@a"]
)
def test_yaml_quotes_what_would_not_read_as_a_string(text: str) -> None:
    assert formats.yaml([text]) == f"- {json.dumps(text, ensure_ascii=False)}\n"


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "Zero KB"),
        (1, "1 byte"),
        (512, "512 bytes"),
        (12_345, "12 KB"),
        (999_999, "1 MB"),
        (3_400_000, "3.4 MB"),
        (3_000_000, "3 MB"),
        (1_250_000_000, "1.25 GB"),
        (1_200_000_000, "1.2 GB"),
    ],
)
def test_decimal_sizes(size: int, text: str) -> None:
    assert sizes.decimal(size) == text


def test_sizes_of_progress_are_binary() -> None:
    assert sizes.of(int(12.5 * (1 << 20)), 40 << 20) == "12.5 of 40 MB"
    assert sizes.of(900 << 10, 2 << 20) == "900 KB of 2 MB"
    assert sizes.mebibytes(1 << 30) == "1024 MB"


EVENT = {
    "description": "Unpacking image",
    "step": 2,
    "steps": 6,
    "items": 120,
    "totalItems": 300,
    "bytes": 12 << 20,
    "totalBytes": 40 << 20,
}


def test_a_progress_line_loses_details_from_the_right() -> None:
    state = State()
    state.take(EVENT)
    assert state.line() == "[2/6] Unpacking image 30% (120 of 300 entries, 12 of 40 MB) [0s]"
    assert state.line(60) == "[2/6] Unpacking image 30% (120 of 300 entries) [0s]"
    assert state.line(40) == "[2/6] Unpacking image 30% [0s]"
    assert state.line(27) == "[2/6] Unpacking image 30%"
    assert state.line(25) == "[2/6] Unpacking image"
    assert state.line(10) == "[2/6]"


def test_a_progress_line_without_numbers_is_its_description() -> None:
    state = State()
    state.take({"description": "Starting container"})
    assert state.line() == "Starting container [0s]"


@pytest.mark.parametrize(("seconds", "text"), [(5, "5s"), (65, "1m 5s"), (3605, "1h 0m 5s")])
def test_durations(seconds: int, text: str) -> None:
    assert duration(seconds) == text
