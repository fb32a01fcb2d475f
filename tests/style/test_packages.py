"""The Debian packages that the Makefile installs: kept apart by purpose, and none of them starts anything."""

import re
import subprocess
from pathlib import Path

import pytest

MAKEFILE = Path(__file__).parents[2] / "Makefile"
KINDS = ("RUN", "BUILD", "DEMO", "TEST")
# What maintainer scripts do to have a service now or at the next boot (deb-systemd-helper(1p), invoke-rc.d(8)). What a
# user's own session may start (`--user`) is none of the machine's: ssh-agent's socket in Debian 13's openssh-client.
STARTS = re.compile(
    r"deb-systemd-(invoke|helper)\b(?!.* --user\b).*\b(start|restart|enable|was-enabled)\b|\b(invoke|update)-rc\.d\b"
)


def listed(kind: str) -> list[str]:
    """The packages of one purpose."""
    text = MAKEFILE.read_text().replace("\\\n", " ")
    found = re.search(rf"^{kind}_PACKAGES := (.*)$", text, re.M)
    assert found, f"the Makefile names no {kind}_PACKAGES"
    return [word.rstrip("?") for word in found[1].split()]


def query(*arguments: str) -> str:
    """What dpkg-query says; nothing of a package that is not installed."""
    return subprocess.run(["dpkg-query", *arguments], capture_output=True, text=True, check=False).stdout


@pytest.mark.parametrize("kind", KINDS)
def test_no_package_starts_or_enables_a_service(kind: str) -> None:
    """Those that every Debian has anyway are left out: set-up does not bring them."""
    here = 0
    for package in listed(kind):
        status, _, priority = query("-W", "-f", "${db:Status-Status} ${Priority}\n", package).partition(" ")
        here += status == "installed"
        if status == "installed" and priority.split()[0] not in {"required", "important"}:
            scripts = query("--control-show", package, "postinst")
            assert not STARTS.search(scripts), f"{package} has a service: take its program alone (tools/program)"
    assert here or kind == "TEST"


def test_running_and_building_need_nothing_of_the_tests() -> None:
    """`make demo` installs no tool that only tests use."""
    only_tests = set(listed("TEST")) - set(listed("DEMO"))
    assert {"skopeo", "umoci", "apache2-utils"} <= only_tests
    assert not only_tests & {*listed("RUN"), *listed("BUILD")}
