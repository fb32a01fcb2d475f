"""The tests of the parts below the network helper once more, as an ordinary user with a user namespace."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import ordinary

ROOT = Path(__file__).parents[2]
PARTS = ["tests/unit/linux/test_relay.py", "tests/unit/plugins/network/test_firewall.py"]


@pytest.mark.timeout(660)  # some hundred processes, one after the other
def test_relay_and_rules_work_for_an_ordinary_user(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("the caller is an ordinary user already")
    user = ordinary.make_user()
    argv = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"]
    argv += [sys.executable, "-B", "-m", "pytest", "-q", "-p", "no:cacheprovider", *PARTS]
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "LANG": "C.UTF-8"}
    result = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "skipped" not in result.stdout
