"""`list` beyond the contract's table: filters, templates, ports and how a container ended, and terminals."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import time
from typing import Any

import pytest

from container.cli import ages

from .conftest import FakeSystem, snapshot

GENERATED = "68e79f9d-12fa-4d27-b9b6-a603993cee6e"


def _date(seconds_ago: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - seconds_ago))


def _containers() -> list[dict[str, Any]]:
    """One with a published port that is up for three minutes, one that ended with 3 two hours ago, one created."""
    up, ended, created = snapshot("web", tier="front"), snapshot(GENERATED, "stopped"), snapshot("new", "stopped")
    for index, each in enumerate((created, up, ended)):
        configuration = each["configuration"]
        configuration["image"]["descriptor"] = {"digest": "sha256:" + "ab" * 32}
        configuration |= {
            "creationDate": _date(86400 + index),
            "mounts": [],
            "networks": [{"network": "default"}],
            "publishedPorts": [],
        }
    up["status"]["startedDate"] = _date(185)
    port = {"hostAddress": "0.0.0.0", "hostPort": 8080, "containerPort": 80, "proto": "tcp", "count": 1}
    up["configuration"]["publishedPorts"] = [port]
    up["configuration"]["mounts"] = [
        {"type": {"volume": {"name": "data"}}, "source": "/x/volume.img", "destination": "/data", "options": []}
    ]
    ended["status"] |= {"startedDate": _date(9000), "exitCode": 3, "exitedDate": _date(7300)}
    return [ended, created, up]


@pytest.fixture
def listed(system: FakeSystem) -> FakeSystem:
    """A system with these containers."""
    containers = _containers()

    def answer(parameters: dict[str, Any], fds: list[int]) -> Any:
        return {"containers": containers if parameters["all"] else containers[2:]}

    system.answers["Containers.List"] = answer
    return system


def _names(system: FakeSystem, *words: str) -> list[str]:
    result = system.run("ps", "-q", *words)
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        (["name=we"], ["web"]),
        (["status=exited"], [GENERATED]),
        (["status=exited", "status=created"], [GENERATED, "new"]),
        (["status=stopped"], [GENERATED, "new"]),
        (["exited=3"], [GENERATED]),
        (["exited=0"], []),
        (["label=tier"], ["web"]),
        (["label=tier=back"], []),
        (["label=tier", "label=other"], []),
        (["ancestor=nginx"], ["web"]),
        (["ancestor=nginx:1.29"], ["web"]),
        (["ancestor=abababababab"], ["web"]),
        (["ancestor=busybox"], []),
        (["network=default", "volume=data"], ["web"]),
        (["volume=/data"], ["web"]),
        (["publish=8080"], ["web"]),
        (["publish=80/tcp"], []),
        (["id=68e7", "status=exited"], [GENERATED]),
    ],
)
def test_filters_of_containers(listed: FakeSystem, filters: list[str], found: list[str]) -> None:
    assert _names(listed, *(word for each in filters for word in ("--filter", each))) == found


def test_a_filter_that_is_none_is_a_command_line_error(listed: FakeSystem) -> None:
    for word in ("nope=1", "name", ""):
        result = listed.run("list", "-f", word)
        assert result.returncode == 64
        assert "expected key=value with one of the keys 'ancestor'" in result.stderr


def test_the_newest(listed: FakeSystem) -> None:
    assert _names(listed, "-l") == ["new"]
    assert _names(listed, "-n", "2") == ["new", "web"]
    assert listed.run("list", "-n", "0").returncode == 64


def test_templates_have_docker_names(listed: FakeSystem) -> None:
    shown = listed.run("ps", "-a", "--format", "{{.ID}}|{{.Names}}|{{.Image}}|{{.State}}|{{.Status}}|{{.Ports}}").stdout
    assert shown.splitlines() == [
        f"68e79f9d-12f|{GENERATED}|nginx:1.29|exited|Exited (3) 2 hours ago|",
        "new|new|nginx:1.29|created|Created|",
        "web|web|nginx:1.29|running|Up 3 minutes|0.0.0.0:8080->80/tcp",
    ]
    whole = listed.run("ps", "-a", "--no-trunc", "--format", "{{.ID}}").stdout.splitlines()
    assert whole[0] == GENERATED
    assert listed.run("ps", "--format", '{{.Labels}} {{.Label "tier"}} {{.Mounts}} {{.Networks}}').stdout == (
        "tier=front front data default\n"
    )
    table = listed.run("ps", "--format", r"table {{.Names}}\t{{.RunningFor}}").stdout
    assert table == "NAMES  RUNNING FOR\nweb    24 hours ago\n"


def test_a_guest_that_does_not_answer_shows_in_the_status(system: FakeSystem) -> None:
    stuck = _containers()[2]
    stuck["status"]["unresponsiveSince"] = _date(60)
    system.answers["Containers.List"] = lambda parameters, fds: {"containers": [stuck]}
    assert system.run("ps", "--format", "{{.State}}: {{.Status}}").stdout == "running: Up 3 minutes (unresponsive)\n"


def test_wide_adds_columns_behind_those_of_the_contract(listed: FakeSystem) -> None:
    plain = listed.run("list", "-a").stdout.splitlines()
    wide = listed.run("list", "-a", "--format", "wide").stdout.splitlines()
    assert [line.split()[:9] for line in plain[:1]] == [line.split()[:9] for line in wide[:1]]
    assert wide[0].split()[9:] == ["STATUS", "PORTS"]
    assert all(line.rstrip() == wide[index][: len(line)].rstrip() for index, line in enumerate(plain))
    assert wide[1].rstrip().endswith("Exited (3) 2 hours ago")
    assert wide[3].endswith("Up 3 minutes            0.0.0.0:8080->80/tcp")


def _on_terminal(system: FakeSystem, columns: int, *words: str) -> list[str]:
    """What a command writes to a terminal of that width."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    command = [sys.executable, "-m", "container.cli.main", *words]
    process = subprocess.Popen(command, env=system.environment, stdout=theirs, stdin=subprocess.DEVNULL)
    os.close(theirs)
    written = b""
    while True:
        try:
            chunk = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not chunk:
            break
        written += chunk
    os.close(ours)
    assert process.wait(timeout=30) == 0
    return written.decode().replace("\r\n", "\n").splitlines()


def test_a_terminal_of_100_columns_shows_what_matters(listed: FakeSystem) -> None:
    lines = _on_terminal(listed, 100, "list", "-a")
    assert max(map(len, lines)) <= 100
    assert lines[0].split() == ["ID", "IMAGE", "IP", "CPUS", "STATUS", "PORTS"]
    assert " ".join(lines[1].split()) == "68e79f9d-12f nginx:1.29 4 Exited (3) 2 hours ago"
    assert lines[3].split()[-1] == "0.0.0.0:8080->80/tcp"


@pytest.mark.parametrize("columns", [40, 60, 80, 120, 200])
def test_terminals_of_other_widths(listed: FakeSystem, columns: int) -> None:
    lines = _on_terminal(listed, columns, "list", "-a")
    titles = lines[0].split()
    assert titles[:2] == ["ID", "IMAGE"]
    assert "STATUS" in titles
    assert max(map(len, lines)) <= max(columns, 52)  # the shortest there is
    if columns == 200:
        assert " ".join(titles) == "ID IMAGE OS ARCH STATE IP CPUS MEMORY STARTED STATUS PORTS"


def test_a_terminal_without_truncation(listed: FakeSystem) -> None:
    assert _on_terminal(listed, 80, "list", "-a", "--no-trunc")[1].startswith(f"{GENERATED}  docker.io/library/nginx")
    assert _on_terminal(listed, 80, "list", "-a", "-q")[0] == GENERATED


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.5, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "About a minute"),
        (150, "2 minutes"),
        (3700, "About an hour"),
        (7300, "2 hours"),
        (47 * 3600, "47 hours"),
        (3 * 86400, "3 days"),
        (20 * 86400, "2 weeks"),
        (90 * 86400, "3 months"),
        (800 * 86400, "2 years"),
    ],
)
def test_times_in_words(seconds: float, words: str) -> None:
    assert ages.span(seconds) == words


def _image(name: str, **labels: str) -> dict[str, Any]:
    variant = {
        "platform": {"os": "linux", "architecture": "amd64"},
        "digest": "sha256:" + "1" * 64,
        "size": 2_000_000,
        "config": {"architecture": "amd64", "os": "linux", "created": _date(7300), "config": {"Labels": labels}},
    }
    digest = "sha256:" + "77a1" * 16
    configuration = {"name": name, "descriptor": {"digest": digest}, "creationDate": _date(7300)}
    return {"id": digest[7:], "configuration": configuration, "variants": [variant]}


def test_images_are_filtered_and_templated(system: FakeSystem) -> None:
    dangling = f"untagged@sha256:{'77a1' * 16}"
    names = ("docker.io/library/app:1", "docker.io/library/app:2", "r.example/team/app:1", dangling)
    system.answers["Images.List"] = {"images": [_image(name, a="b") for name in names]}

    def found(*words: str) -> list[str]:
        result = system.run("images", "--format", "{{.Repository}}:{{.Tag}}", *words)
        assert result.returncode == 0, result.stderr
        return result.stdout.split()

    assert len(found("-a")) == 4
    assert found("app") == ["app:1", "app:2"]
    assert found("app:2") == ["app:2"]
    assert found("--filter", "reference=*/app:1") == ["r.example/team/app:1"]
    assert found("-f", "dangling=true") == ["untagged:<none>"]
    assert len(found("-f", "dangling=false", "-f", "label=a=b")) == 3
    assert found("-f", "label=z") == []
    line = system.run("images", "app:1", "--format", "{{.ID}} {{.CreatedSince}} {{.Size}}").stdout
    assert line == "77a177a177a1 2 hours ago 2 MB\n"
