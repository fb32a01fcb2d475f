"""Programs that the CLI becomes on the API server's word: those alone that nobody else can have put there."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import FakeSystem


def _refused(system: FakeSystem, why: str) -> bool:
    result = system.run("tool")
    assert "ran" not in result.stdout
    assert result.stderr.startswith("Error: cannot run the plugin ")
    return why in result.stderr and result.returncode == 1


def _open_program(program: Path) -> None:
    program.chmod(0o757)


def _open_folder(program: Path) -> None:
    program.parents[2].chmod(0o777)


def _open_root(program: Path) -> None:
    program.parents[5].chmod(0o777)


@pytest.mark.parametrize("open_to_others", [_open_program, _open_folder, _open_root])
def test_a_plugin_that_others_can_change_is_not_run(system: FakeSystem, open_to_others: Callable[[Path], None]) -> None:
    program = system.install_plugin("tool", "A tool", "echo ran")
    assert system.run("tool").stdout == "ran\n"
    open_to_others(program)
    assert _refused(system, "other users may change")


def test_a_program_that_is_no_plugin_is_not_run(system: FakeSystem) -> None:
    program = system.install_plugin("tool", "A tool", "echo ran")
    (program.parents[1] / "config.toml").unlink()
    assert _refused(system, "it lies in no plugin's folder")


@pytest.mark.root
@pytest.mark.skipif(os.getuid() != 0, reason="needs files of another user")
def test_a_plugin_of_another_user_is_not_run_also_behind_a_link(system: FakeSystem) -> None:
    program = system.install_plugin("tool", "A tool", "echo ran")
    elsewhere = system.root / "elsewhere"
    shutil.move(program.parents[1], elsewhere)
    program.parents[1].symlink_to(elsewhere)
    assert system.run("tool").stdout == "ran\n"
    os.chown(elsewhere / "bin", 65534, 65534)
    assert _refused(system, f"{elsewhere}/bin belongs to another user, with the uid 65534")
