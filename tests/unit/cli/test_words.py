"""What people who know docker type, and what becomes of it."""

import json
from pathlib import Path
from typing import Any

import pytest

from container.cli import aliases, commands, completion
from container.cli.completion.tables import NAMES, Tables
from container.cli.options.absent import REASONS

from .conftest import FakeSystem, Reject, snapshot


@pytest.mark.parametrize(
    ("word", "meaning"), [(each, meaning) for each, meaning in aliases.MEANINGS.items() if meaning]
)
def test_a_word_of_docker_is_a_command_of_ours(offline: FakeSystem, word: str, meaning: str) -> None:
    shown = offline.run(*word.split(), "--help")
    assert shown.returncode == 0
    assert f"USAGE: container {meaning}" in shown.stdout
    assert offline.run("help", *word.split()).stdout == shown.stdout


def test_aliases_are_hidden_in_the_help(offline: FakeSystem) -> None:
    listed = {line.split()[0].rstrip(",") for line in offline.run("--help").stdout.splitlines() if line[:2] == "  "}
    assert "list" in listed
    assert not listed & {*aliases.MEANINGS, *aliases.NEAREST}


def test_ps_lists(system: FakeSystem) -> None:
    system.answers["Containers.List"] = {"containers": [snapshot()]}
    assert system.run("ps", "-aq").stdout == "web\n"
    assert system.run("container", "ls", "-q").stdout == "web\n"
    assert system.run("--debug", "ps", "-q").stdout == "web\n"


@pytest.mark.parametrize("typed", list(aliases.NEAREST))
def test_what_is_not_here_says_so_and_what_comes_nearest(offline: FakeSystem, typed: str) -> None:
    result = offline.run(*typed.split(), "some", "--thing")
    assert result.returncode == 64
    first = result.stderr.splitlines()[0]
    assert first == f"Error: 'container {typed}' is not here: {aliases.NEAREST[typed]}"


def test_no_word_is_both_here_and_not_here() -> None:
    for table in (aliases.MEANINGS, aliases.NEAREST):
        for typed in table:
            node: Any = commands.ROOT
            for word in typed.split():
                node = node.find(word) if isinstance(node, commands.Noun) else None
            assert node is None, typed
    assert not aliases.MEANINGS.keys() & aliases.NEAREST.keys()


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["lst"], "container list"),
        (["sotp", "web"], "container stop"),
        (["remove", "web"], "container delete"),
        (["shell"], "container exec"),
        (["image", "lst"], "container image list"),
        (["volume", "deleet", "x"], "container volume delete"),
    ],
)
def test_a_mistyped_command_is_answered_with_the_one_meant(offline: FakeSystem, words: list[str], meant: str) -> None:
    result = offline.run(*words)
    assert result.returncode == 64
    assert result.stderr.splitlines()[0].endswith(f". Did you mean '{meant}'?")


def test_a_plugin_goes_before_what_is_not_here(system: FakeSystem) -> None:
    system.install_plugin("compose", "Several at once", 'echo "$@"')
    assert system.run("compose", "up").stdout == "up\n"
    assert "'container build' is not here" in system.run("build").stderr


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--gpus", "GPUs are not available in the virtual machine of a container."),
        ("--privileged", "--cap-add ALL"),
        ("--restart", "`container start`"),
        ("--cpu-shares", "--cpus"),
        ("-P", "--publish"),
    ],
)
def test_an_option_that_is_not_here_is_explained(offline: FakeSystem, option: str, said: str) -> None:
    result = offline.run("run", option, "all", "busybox")
    assert result.returncode == 64
    first = result.stderr.splitlines()[0]
    assert first.startswith(f"Error: Unknown option '{option}'. ")
    assert said in first
    assert "Did you mean" not in first


def _created(system: FakeSystem, *words: str) -> dict[str, Any]:
    system.answers["Containers.Create"] = [{"event": {"id": "web"}}]
    result = system.run("create", *words)
    assert (result.returncode, result.stderr) == (0, "")
    return dict(system.calls[-1][1]["request"])


def test_h_before_an_image_is_the_host_name(system: FakeSystem) -> None:
    assert _created(system, "-h", "box", "busybox")["hostname"] == "box"
    assert _created(system, "--rm", "-ith", "box", "--name", "web", "busybox")["hostname"] == "box"
    request = _created(system, "busybox", "ls", "-h")
    assert "hostname" not in request
    assert request["process"]["arguments"] == ["ls", "-h"]


@pytest.mark.parametrize("words", [["-h"], ["-h", "busybox"], ["-h", "-d", "busybox"], ["-it", "-h"], ["--help"]])
def test_h_is_help_otherwise(offline: FakeSystem, words: list[str]) -> None:
    result = offline.run("run", *words)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("OVERVIEW: Create and start a container")


def test_a_host_name_does_not_hide_a_mistake(offline: FakeSystem) -> None:
    result = offline.run("run", "-h", "box", "--gpus", "all", "busybox")
    assert (result.returncode, result.stdout) == (64, "")


def test_net_is_network(system: FakeSystem) -> None:
    assert [each["network"] for each in _created(system, "--net", "a", "--net=b", "busybox")["networks"]] == ["a", "b"]
    assert _created(system, "--net=none", "busybox")["networks"] == []


def test_login_takes_a_password_with_a_warning(system: FakeSystem) -> None:
    system.answers["Images.Login"] = {}
    result = system.run("login", "-u", "ann", "-p", "secret", "r.example")
    assert result.returncode == 0
    assert "use --password-stdin" in result.stderr
    assert "secret" not in result.stderr
    assert system.calls[-1][1]["password"] == "secret"
    both = system.run("login", "-u", "ann", "-p", "secret", "--password-stdin", "r.example", input="x")
    assert both.returncode == 64


def test_port_prints_published_ports(system: FakeSystem) -> None:
    found = snapshot()
    found["configuration"]["publishedPorts"] = [
        {"hostAddress": "0.0.0.0", "hostPort": 8080, "containerPort": 80, "proto": "tcp", "count": 2},
        {"hostAddress": "::1", "hostPort": 53, "containerPort": 53, "proto": "udp", "count": 1},
    ]
    system.answers["Containers.Get"] = {"container": found}
    assert system.run("port", "web").stdout.splitlines() == [
        "80/tcp -> 0.0.0.0:8080",
        "81/tcp -> 0.0.0.0:8081",
        "53/udp -> [::1]:53",
    ]


def test_inspect_takes_docker_paths_and_ours(system: FakeSystem) -> None:
    system.answers["Containers.Get"] = {"container": snapshot("web", a="b")}

    def inspect(template: str) -> str:
        result = system.run("inspect", "-f", template, "web")
        assert result.returncode == 0, result.stderr
        return result.stdout.removesuffix("\n")

    assert inspect("{{.State.Status}} {{.State.Running}} {{.Name}}") == "running true /web"
    assert inspect("{{.NetworkSettings.IPAddress}}") == "192.168.64.2"
    assert inspect("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}") == "192.168.64.2"
    assert inspect("{{.Config.Image}}") == "docker.io/library/nginx:1.29"
    assert inspect('{{index .Config.Labels "a"}}') == "b"
    assert inspect("{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}}") == "1073741824 4000000000"
    assert inspect("{{.status.state}} {{.configuration.resources.cpus}}") == "running 4"
    assert json.loads(inspect("{{json .}}")) == snapshot("web", a="b")
    assert json.loads(system.run("inspect", "--format", "json", "web").stdout) == [snapshot("web", a="b")]
    wrong = system.run("inspect", "-f", "{{.Nope}}", "web")
    assert (wrong.returncode, wrong.stdout) == (64, "")
    assert "there is no field .Nope" in wrong.stderr
    unclosed = system.run("inspect", "-f", "{{.Nope", "web")
    assert "The value '{{.Nope' is invalid for '-f <format>': an action is not closed" in unclosed.stderr


def test_an_ambiguous_id_is_not_found_under_another_name(system: FakeSystem) -> None:
    def ambiguous(parameters: dict[str, Any], fds: list[int]) -> Any:
        raise Reject("invalidArgument", "container ID abcd is ambiguous, it may be abcd1, abcd2: give more of it")

    system.answers["Containers.Get"] = ambiguous
    assert "it may be abcd1, abcd2" in system.run("inspect", "abcd").stderr


def test_the_completed_kinds_are_known() -> None:
    tables = Tables()
    kinds = {*tables.values.values(), *(kind for places, _ in tables.places.values() for kind in places)}
    known = {*NAMES, "file", "nothing", "container-path", "volume-path"}
    assert {kind for kind in kinds if not kind.startswith("words ")} <= known
    assert completion.SHELLS == ("bash", "zsh", "fish")


def test_every_word_is_documented() -> None:
    text = (Path(__file__).parents[3] / "docs/reference/words.md").read_text()
    commands_told = [f"`container {typed}`" for typed in (*aliases.MEANINGS, *aliases.NEAREST) if typed != "container"]
    options_told = [f"`{option}`" for option in REASONS]
    assert [each for each in (*commands_told, *options_told) if each not in text] == []
