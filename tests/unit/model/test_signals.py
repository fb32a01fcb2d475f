"""Signal names and numbers (contract 1.8)."""

import signal

import pytest

from container.errors import ContainerError
from container.model.signals import parse_signal


@pytest.mark.parametrize("known", list(signal.Signals), ids=lambda known: known.name)
def test_names_are_those_of_linux(known: signal.Signals) -> None:
    assert parse_signal(known.name) == known.value
    assert parse_signal(known.name.removeprefix("SIG").lower()) == known.value
    assert parse_signal(str(known.value)) == known.value


def test_aliases_and_real_time_signals() -> None:
    assert [parse_signal(name) for name in ("CLD", "IOT", "POLL")] == [17, 6, 29]
    assert [parse_signal(name) for name in ("RTMIN+3", "SIGRTMAX-1", "rtmin")] == [37, 63, 34]


@pytest.mark.parametrize("bad", ["", "0", "65", "-9", "NOPE", "RTMIN+99", "RTMIN-1", "RTMAX+1", "SIG", "٣"])
def test_what_is_no_signal(bad: str) -> None:
    with pytest.raises(ContainerError, match="invalid signal"):
        parse_signal(bad)
