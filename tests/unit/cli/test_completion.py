"""The completion scripts in the shells that they are for."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .conftest import FakeSystem, snapshot

SHELLS = ["bash", "zsh", "fish"]
IMAGE = {
    "configuration": {"name": "docker.io/library/nginx:1.29", "descriptor": {"digest": "sha256:0"}},
    "variants": [],
}

# What a shell does with a command line, and prints of it: the words offered, FILES for names of files.
BASH = """
source "$1"; compopt() { :; }; _container_files() { COMPREPLY+=(FILES); }
COMP_LINE="$2" COMP_POINT=${#2}; read -ra COMP_WORDS <<<"$2"; COMP_CWORD=0
_container; printf '%s\\n' "${COMPREPLY[@]}"
"""
ZSH = """
compdef() { :; }; source "$1"
words=(${(s: :)2}); [[ "$2" == *' ' ]] && words+=(""); CURRENT=${#words}
_files() { print FILES; }; compset() { current="${current#*=}"; }
compadd() { [[ "$1" != -S ]] || { suffix="$2"; shift 2; }; shift
    for word in "$@"; do [[ "$word" != "$current"* ]] || print -r -- "$word$suffix"; done; suffix=""; }
_container
"""
FISH = """
source $argv[1]; function __fish_complete_path; echo "$argv[1]FILES"; end
complete -C $argv[2] | string replace -r '\\t.*' '' | string replace -r '.*FILES' FILES
"""
PROGRAMS = {
    "bash": ["--norc", "-c", BASH, "bash"],
    "zsh": ["-f", "-c", ZSH, "zsh"],
    "fish": ["--no-config", "-c", FISH],
}


class Shell:
    """A shell with the script for it."""

    def __init__(self, name: str, system: FakeSystem, script: Path) -> None:
        self.name = name
        self._system = system
        self._script = script
        script.write_text(system.run("--generate-completion-script", name).stdout)

    def offers(self, line: str) -> list[str]:
        """What may stand at the end of a line; nothing else is printed."""
        environment = self._system.environment
        result = subprocess.run(
            [self.name, *PROGRAMS[self.name], str(self._script), line],
            env={**environment, "PATH": f"{Path(sys.executable).parent}:{environment['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert result.stderr == ""
        return sorted(result.stdout.split())


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, system: FakeSystem, tmp_path: Path) -> Shell:
    """A shell, and services with one running container, one that is stopped, an image, a network and a volume."""
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    containers = [snapshot("web"), snapshot("old", "stopped")]

    def listed(parameters: dict[str, Any], fds: list[int]) -> Any:
        return {"containers": containers if parameters["all"] else containers[:1]}

    system.answers["Containers.List"] = listed
    system.answers["Images.List"] = {"images": [IMAGE]}
    network = {"id": "backend", "status": {"ipv4Subnet": "10.0.0.0/24"}, "configuration": {}}
    system.answers["Networks.List"] = {"networks": [network]}
    volume = {"id": "data", "configuration": {"labels": {}, "options": {}, "driver": "local"}}
    system.answers["Volumes.List"] = {"volumes": [volume]}
    return Shell(request.param, system, tmp_path / "script")


def test_commands_and_options_are_completed(shell: Shell) -> None:
    assert shell.offers("container sto") == ["stop"]
    assert shell.offers("container image l") == ["list", "load"]
    assert shell.offers("container i lo") == ["load"]
    assert "--force" in shell.offers("container rm --")
    assert shell.offers("container system kernel s") == ["set"]


def test_names_of_what_there_is_are_completed(shell: Shell) -> None:
    assert shell.offers("container start ") == ["old", "web"]
    assert shell.offers("container logs -f o") == ["old"]
    assert shell.offers("container stop ") == ["web"]
    assert shell.offers("container exec -it -e A=1 ") == ["web"]
    assert shell.offers("container rm web ") == ["old", "web"]
    assert shell.offers("container run --rm --name x n") == ["nginx:1.29"]
    assert shell.offers("container rmi ") == ["nginx:1.29"]
    assert shell.offers("container run --network ") == ["backend"]
    assert shell.offers("container network rm b") == ["backend"]
    assert shell.offers("container volume inspect ") == ["data"]


def test_a_value_behind_an_equals_sign_is_completed(shell: Shell) -> None:
    prefix = "--network=" if shell.name == "fish" else ""  # which replaces the whole word
    assert shell.offers("container run --network=b") == [f"{prefix}backend"]
    assert [word.rpartition("=")[2] for word in shell.offers("container list --format=j")] == ["json"]


def test_after_a_colon_bash_replaces_what_follows_it(shell: Shell) -> None:
    expected = "1.29" if shell.name == "bash" else "nginx:1.29"
    assert shell.offers("container run nginx:1") == [expected]


def test_paths_are_files_or_begin_with_a_name(shell: Shell) -> None:
    assert "web:" in shell.offers("container cp w")
    assert shell.offers("container cp web:/etc/x /t") == ["FILES"]
    assert "data:" in shell.offers("container run -v d")
    assert shell.offers("container run --env-file ") == ["FILES"]
    assert shell.offers("container run nginx:1.29 ") == ["FILES"]


def test_nothing_is_said_when_the_services_are_down(offline: FakeSystem, tmp_path: Path) -> None:
    for name in SHELLS:
        if shutil.which(name) is not None:
            shell = Shell(name, offline, tmp_path / name)
            assert shell.offers("container start ") == []
            assert shell.offers("container sta") == ["start"]


def test_bash_completes_without_the_line(offline: FakeSystem) -> None:
    script = offline.run("--generate-completion-script=bash").stdout
    probe = 'COMP_WORDS=(container image l); COMP_CWORD=2; _container; echo "${COMPREPLY[@]}"'
    result = subprocess.run(["bash", "-c", f"{script}\n{probe}"], capture_output=True, text=True, check=False)
    assert result.stdout.split() == ["list", "load"]


def test_other_shells_are_refused(offline: FakeSystem) -> None:
    assert offline.run("--generate-completion-script", "tcsh").returncode == 64
