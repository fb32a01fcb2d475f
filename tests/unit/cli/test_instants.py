"""Times as options name them, and as logs write them."""

import time

import pytest

from container.cli import instants


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05.000000000Z"),
        ("2026-01-02t03:04:05.5z", "2026-01-02T03:04:05.500000000Z"),
        ("2026-01-02T03:04:05.123456789+02:00", "2026-01-02T01:04:05.123456789Z"),
        ("2026-01-02T03:04Z", "2026-01-02T03:04:00.000000000Z"),
        ("2026-01-02T03:04:05", "2026-01-02T01:04:05.000000000Z"),
        ("2026-01-02", "2026-01-01T22:00:00.000000000Z"),
        ("1136073600", "2006-01-01T00:00:00.000000000Z"),
        ("1136073600.000000001", "2006-01-01T00:00:00.000000001Z"),
        ("0", "1970-01-01T00:00:00.000000000Z"),
        ("-1", "1969-12-31T23:59:59.000000000Z"),
        ("0042-01-02T03:04:05Z", "0042-01-02T03:04:05.000000000Z"),
    ],
)
def test_dates_and_unix_times(text: str, written: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "EET-2")
    time.tzset()
    try:
        assert instants.write(instants.parse(text)) == written
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("text", "seconds"), [("10m", 600), ("1h30m", 5400), ("1.5s", 1.5), ("500ms", 0.5), ("2h0.5m", 7230), ("-10s", -10)]
)
def test_a_duration_is_before_now(text: str, seconds: float) -> None:
    assert instants.parse(text) == pytest.approx(time.time_ns() - seconds * 1e9, abs=5e9)


@pytest.mark.parametrize(
    "text", ["", "x", "10d", "10m5", "m", "1h x", "2026-13-01", "2026-01-02T25:00", "9" * 12, "9" * 30, "1.", "٣"]
)
def test_what_is_no_time_is_refused_with_the_forms_there_are(text: str) -> None:
    with pytest.raises(ValueError, match="Unix time"):
        instants.parse(text)
