"""What starts of one shape usually take: an average that is kept, and lost without harm."""

from pathlib import Path

from container.vm.pace import Pace


def test_nothing_is_known_before_the_first_start(tmp_path: Path) -> None:
    pace = Pace(str(tmp_path / "pace-1.json"))
    assert pace.usual(restored=True) is None
    assert pace.usual(restored=False) is None


def test_a_start_that_is_restored_and_one_that_boots_have_figures_of_their_own(tmp_path: Path) -> None:
    path = str(tmp_path / "pace-1.json")
    Pace(path).took(4.0, restored=False)
    Pace(path).took(1.0, restored=True)
    assert Pace(path).usual(restored=False) == 4.0
    assert Pace(path).usual(restored=True) == 1.0


def test_one_slow_start_changes_the_average_a_little(tmp_path: Path) -> None:
    pace = Pace(str(tmp_path / "pace-1.json"))
    pace.took(1.0, restored=True)
    pace.took(9.0, restored=True)
    assert pace.usual(restored=True) == 3.0


def test_a_start_like_the_others_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "pace-1.json"
    pace = Pace(str(path))
    pace.took(1.0, restored=True)
    before = path.stat().st_mtime_ns
    pace.took(1.1, restored=True)
    assert path.stat().st_mtime_ns == before


def test_stalls_are_counted_in_a_row(tmp_path: Path) -> None:
    path = str(tmp_path / "pace-1.json")
    assert not Pace(path).stalled()
    Pace(path).took(1.0, restored=True)
    assert not Pace(path).stalled()
    Pace(path).took(3.0, restored=False)  # the boot after it says nothing of the saved machine
    assert Pace(path).stalled()


def test_the_stalls_of_a_machine_that_was_dropped_do_not_count_for_the_next_one(tmp_path: Path) -> None:
    path = str(tmp_path / "pace-1.json")
    assert [Pace(path).stalled() for _ in range(4)] == [False, True, False, True]


def test_a_damaged_file_is_as_good_as_none(tmp_path: Path) -> None:
    path = tmp_path / "pace-1.json"
    for text in ("", "[1]", '{"restored": "x", "stalls": null}', "\0"):
        path.write_text(text)
        pace = Pace(str(path))
        assert pace.usual(restored=True) is None
        assert not pace.stalled()
