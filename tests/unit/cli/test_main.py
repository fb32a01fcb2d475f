"""The program as a whole against canned services: output shapes, error texts, exit codes."""

import json
import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from container import paths
from container.version import version_line

from .conftest import FakeSystem, Reject, snapshot

HINT = "Ensure container system service has been started with `container system start`."
THERE = [f"; `container {words}` shows those that there are" for words in ("list --all", "image list")]


def test_list_prints_a_table(system: FakeSystem) -> None:
    system.answers["Containers.List"] = {"containers": [snapshot(), snapshot("idle", "stopped")]}
    result = system.run("list")
    image = "docker.io/library/nginx:1.29"
    assert result.stdout.splitlines() == [
        "ID    IMAGE                         OS     ARCH   STATE    IP               CPUS  MEMORY   STARTED",
        f"web   {image}  linux  amd64  running  192.168.64.2/24  4     1024 MB  2026-03-01T09:00:02Z",
        f"idle  {image}  linux  amd64  stopped                   4     1024 MB  ",
    ]
    assert system.calls == [("Containers.List", {"all": False})]
    assert (result.returncode, result.stderr) == (0, "")


def test_list_in_other_formats(system: FakeSystem) -> None:
    containers = [snapshot()]
    system.answers["Containers.List"] = {"containers": containers}
    assert json.loads(system.run("ls", "-a", "--format", "json", "-q").stdout) == containers
    assert tomllib.loads(system.run("list", "--format=toml").stdout) == {"items": containers}
    assert system.run("list", "--format=yaml").stdout.startswith("- id: web\n  configuration:\n")
    assert system.run("list", "-q").stdout == "web\n"
    system.answers["Containers.List"] = {"containers": []}
    assert system.run("list", "--format", "json").stdout == "[]\n"
    assert system.run("list", "--format", "toml").stdout == "items = []\n"
    assert system.run("list", "-q").stdout == ""


def test_list_hides_machines(system: FakeSystem) -> None:
    label = {"com.apple.container.plugin": "machine"}
    system.answers["Containers.List"] = {"containers": [snapshot("dev-1", **label), snapshot("web")]}
    assert system.run("list", "-q").stdout == "web\n"


def test_inspect_answers_in_listing_order(system: FakeSystem) -> None:
    def get(parameters: dict[str, Any], fds: list[int]) -> Any:
        if parameters["id"] not in ("a", "b", "b-short"):
            raise Reject("notFound", f"get failed: container {parameters['id']} not found")
        return {"container": snapshot(parameters["id"][0])}

    system.answers["Containers.Get"] = get
    result = system.run("inspect", "b", "a", "b", "b-short")
    assert [each["id"] for each in json.loads(result.stdout)] == ["a", "b"]
    missing = system.run("inspect", "z", "a", "y")
    assert (missing.returncode, missing.stderr) == (1, f"Error: container not found: y, z{THERE[0]}\n")
    assert system.run("inspect").returncode == 64


def test_services_not_running(offline: FakeSystem) -> None:
    result = offline.run("list")
    socket = offline.root / "run" / paths.APISERVER
    assert result.returncode == 1
    why = f"connection to {paths.APISERVER} failed: {socket}: No such file or directory"
    assert result.stderr == f"Error: cannot reach the container services: {why}\n{HINT}\n"


def test_an_error_shows_its_causes(system: FakeSystem) -> None:
    def fail(parameters: dict[str, Any], fds: list[int]) -> Any:
        cause = {"code": "internalError", "message": "no", "cause": {"code": "timeout", "message": "slow"}}
        raise Reject("invalidState", "failed", cause)

    system.answers["Containers.List"] = fail
    result = system.run("list")
    assert (result.returncode, result.stderr) == (1, "Error: failed: no: slow\n")
    debugged = system.run("list", "--debug")
    assert debugged.stderr.endswith('Error: failed (cause: "internalError: "no (cause: "timeout: "slow"")"")\n')
    assert debugged.returncode == 1


@pytest.mark.parametrize("verb", ["stop", "kill", "delete"])
def test_ids_and_all_exclude_each_other(offline: FakeSystem, verb: str) -> None:
    neither = offline.run(verb)
    assert (neither.returncode, neither.stderr) == (1, "Error: no containers specified and --all not supplied\n")
    what = "container ID(s)" if verb == "delete" else "container IDs"
    both = offline.run(verb, "-a", "web")
    assert both.stderr == f"Error: explicitly supplied {what} conflict with the --all flag\n"
    assert both.returncode == 1


@pytest.mark.parametrize("verb", ["stop", "kill", "delete"])
def test_verbs_go_on_after_a_failure(system: FakeSystem, verb: str) -> None:
    def answer(parameters: dict[str, Any], fds: list[int]) -> Any:
        if parameters["id"] in ("bad", "worse"):
            raise Reject("notFound", f"container with ID {parameters['id']} not found")
        return {}

    system.answers[f"Containers.{verb.capitalize()}"] = answer
    result = system.run(verb, "a", "bad", "b", "worse", "a")
    assert sorted(result.stdout.split()) == ["a", "b"]
    assert sorted(result.stderr.splitlines()) == [
        f"Error: failed to {verb} container {name}: container with ID {name} not found" for name in ("bad", "worse")
    ]
    assert result.returncode == 1


def test_stop_and_kill_pass_their_options_on(system: FakeSystem) -> None:
    assert system.run("stop", "-s", "int", "-t", "7", "web").stdout == "web\n"
    assert system.run("stop", "web").returncode == 0
    assert system.run("kill", "web").returncode == 0
    assert system.calls == [
        ("Containers.Stop", {"id": "web", "signal": "int", "timeout": 7}),
        ("Containers.Stop", {"id": "web", "timeout": 5}),
        ("Containers.Kill", {"id": "web", "signal": "KILL"}),
    ]


def test_verbs_print_the_whole_id_of_what_was_meant(system: FakeSystem) -> None:
    for method in ("Stop", "Kill", "Delete"):
        system.answers[f"Containers.{method}"] = {"id": "abcd-whole"}
    for verb in ("stop", "kill", "delete"):
        assert system.run(verb, "abcd").stdout == "abcd-whole\n"
    bad = system.run("kill", "-s", "NOPE", "web")
    assert bad.returncode == 1
    assert bad.stderr.startswith("Error: invalid signal: NOPE; expected a name")


def test_delete_all_skips_running_ones_and_machines(system: FakeSystem) -> None:
    machine = snapshot("m", "stopped", **{"com.apple.container.plugin": "machine"})
    system.answers["Containers.List"] = {"containers": [snapshot("up"), snapshot("down", "stopped"), machine]}
    assert system.run("delete", "--all").stdout == "down\n"
    assert sorted(system.run("rm", "-a", "-f").stdout.split()) == ["down", "up"]
    assert ("Containers.Delete", {"id": "up", "force": True}) in system.calls


def test_command_line_errors(offline: FakeSystem) -> None:
    result = offline.run("list", "--format", "xml")
    assert result.returncode == 64
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "Error: The value 'xml' is invalid for '--format <format>'."
        " Please provide one of 'json', 'table', 'yaml' or 'toml'.",
        "Help:  --format <format>  Format of the output, also wide, or a template such as '{{.ID}}'",
        "Usage: container list [--all] [--filter <filter> ...] [--format <format>] [--last <count>] [--latest]"
        " [--no-trunc] [--quiet] [--debug]",
        "  See 'container list --help' for more information.",
    ]
    assert offline.run("image", "nope").stderr.startswith("Error: Unexpected argument 'nope'\nUsage: container image ")
    assert offline.run("image", "--nope").stderr.startswith("Error: Unknown option '--nope'\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([""], "unknown argument ''"),
        (["-x"], "unknown option '-x'"),
        (["--nope", "list"], "unknown option '--nope'"),
        (["help", "image", "nope"], "unknown command 'image nope'"),
    ],
)
def test_unknown_words_at_the_root(offline: FakeSystem, words: list[str], message: str) -> None:
    result = offline.run(*words)
    assert result.stderr.startswith(f"Error: {message}\n")
    assert result.returncode == 64


def test_help_and_version(offline: FakeSystem) -> None:
    assert offline.run("--version").stdout == version_line("container CLI") + "\n"
    bare = offline.run()
    assert bare.returncode == 0
    assert bare.stdout.startswith("OVERVIEW: Linux containers")
    assert "PLUGINS: not available, run `container system start`" in bare.stdout
    assert offline.run("--help").stdout == bare.stdout == offline.run("help").stdout
    assert offline.run("image").stdout == offline.run("i", "-h").stdout == offline.run("help", "i").stdout
    assert offline.run("help", "i", "ls").stdout == offline.run("image", "list", "--help").stdout
    assert all(len(line) <= 80 for line in bare.stdout.splitlines())


def test_run_help_has_its_groups_in_order(offline: FakeSystem) -> None:
    text = offline.run("run", "--help").stdout
    titles = [line for line in text.splitlines() if line.endswith(":") and line.isupper()]
    assert titles == [
        "ARGUMENTS:",
        "PROCESS OPTIONS:",
        "RESOURCE OPTIONS:",
        "MANAGEMENT OPTIONS:",
        "REGISTRY OPTIONS:",
        "PROGRESS OPTIONS:",
        "IMAGE FETCH OPTIONS:",
        "OPTIONS:",
    ]
    assert "PROGRESS OPTIONS:" not in offline.run("create", "--help").stdout


def test_plugins_without_services(offline: FakeSystem) -> None:
    result = offline.run("foo", "bar")
    install = offline.root / "install" / "libexec"
    assert result.returncode == 64
    assert result.stderr.startswith(
        "Error: Plugins are unavailable. Start the container system services and retry:\n\n"
        "    container system start\n\nCheck to see that the plugin exists under:\n"
        f"  - {install}/container-plugins/foo\n  - {install}/container/plugins/foo\n"
    )


def test_a_plugin_takes_over(system: FakeSystem) -> None:
    program = system.install_plugin("k8s", "Clusters", 'echo "$0" "$@"; exit 5')
    result = system.run("k8s", "create", "--name", "x")
    assert (result.stdout, result.returncode) == (f"{program} create --name x\n", 5)
    assert f"PLUGINS:\n  {'k8s':<24}Clusters\n" in system.run().stdout
    missing = system.run("foo")
    assert missing.returncode == 64
    assert missing.stderr.startswith(
        "Error: Plugin 'container-foo' not found.\n\n"
        "- If it was to be a command of container: `container --help` lists them\n"
        "- If the plugin isn't installed, ensure it exists under:\n"
    )


def test_image_list(system: FakeSystem) -> None:
    digest = "sha256:" + "77a1" * 16
    variant = {
        "platform": {"os": "linux", "architecture": "arm", "variant": "v7"},
        "digest": digest,
        "size": 3_801_234,
        "config": {"created": "2026-02-10T08:00:00Z"},
    }
    attestation = {**variant, "platform": {"os": "unknown", "architecture": "unknown"}}
    image = {
        "id": "77a1" * 16,
        "configuration": {"name": "docker.io/library/alpine:3.22", "descriptor": {"digest": digest}},
        "variants": [variant, attestation],
    }
    system.answers["Images.List"] = {"images": [image]}
    assert system.run("image", "ls").stdout == "NAME    TAG   DIGEST\nalpine  3.22  77a177a177a1\n"
    assert system.run("image", "ls", "-q").stdout == "alpine:3.22\n"
    verbose = system.run("image", "ls", "-v").stdout.splitlines()
    assert verbose[0].endswith("  MANIFEST DIGEST")
    assert verbose[1].split() == (
        ["alpine", "3.22", "77a177a177a1", "linux", "arm", "v7", "3.8", "MB", "2026-02-10T08:00:00Z", "77a177a177a1"]
    )
    assert len(verbose) == 2
    both = system.run("image", "ls", "-q", "-v")
    assert both.returncode == 64
    assert both.stderr.startswith("Error: cannot use flag --quiet and --verbose together\n")


def test_image_delete_reports_what_stays(system: FakeSystem) -> None:
    failed = {"x": "image x is in use by containers: a, b"}
    system.answers["Images.Delete"] = {
        "result": {"deleted": ["docker.io/library/y:1"], "failed": failed, "reclaimed": 2_000_000}
    }
    result = system.run("image", "rm", "y:1", "x")
    assert result.stdout == "docker.io/library/y:1\n"
    assert result.stderr.splitlines() == [
        "Reclaimed 2 MB in disk space",
        'Error: failed to delete one or more images: ["x"]: image x is in use by containers: a, b',
    ]
    assert result.returncode == 1


def test_image_load_reads_standard_input_or_a_file(system: FakeSystem, tmp_path: Path) -> None:
    seen: list[bytes] = []

    def load(parameters: dict[str, Any], fds: list[int]) -> Any:
        seen.append(os.read(fds[parameters["archive"]], 100))
        yield {"event": {"progress": {"description": "Unpacking", "step": 1, "steps": 2}}}
        yield {"event": {"references": ["docker.io/library/a:1"]}}

    system.answers["Images.Load"] = load
    assert system.run("image", "load", input="from stdin").stdout == "docker.io/library/a:1\n"
    archive = tmp_path / "a.tar"
    archive.write_text("from file")
    result = system.run("image", "load", "-i", str(archive))
    assert (result.stdout, result.stderr) == ("docker.io/library/a:1\n", "")
    assert seen == [b"from stdin", b"from file"]
    missing = system.run("image", "load", "-i", "/no/such.tar")
    assert (missing.returncode, missing.stderr) == (
        1,
        "Error: cannot load images from /no/such.tar: file does not exist\n",
    )


def test_image_load_with_rejected_members(system: FakeSystem) -> None:
    system.answers["Images.Load"] = [{"event": {"references": ["a:1"], "rejected": ["../x"]}}]
    refused = system.run("image", "load", input="")
    assert (
        refused.stderr == 'Error: cannot load tar image with rejected paths: ["../x"]; --force loads it without them\n'
    )
    assert refused.returncode == 1
    forced = system.run("image", "load", "-f", input="")
    assert (forced.returncode, forced.stdout) == (0, "a:1\n")
    assert forced.stderr == 'archive contains invalid members: ["paths": ["../x"]]\n'


def test_image_save(system: FakeSystem, tmp_path: Path) -> None:
    def get(parameters: dict[str, Any], fds: list[int]) -> Any:
        if parameters["reference"] == "gone":
            raise Reject("notFound", "image with reference gone")
        return {"image": {}}

    def save(parameters: dict[str, Any], fds: list[int]) -> Any:
        os.write(fds[parameters["archive"]], b"TAR")
        yield {"event": {"references": parameters["references"]}}

    system.answers.update({"Images.Get": get, "Images.Save": save})
    target = tmp_path / "a.tar"
    result = system.run("image", "save", "-o", str(target), "--arch", "arm64", "a", "b")
    assert (result.stdout, target.read_bytes()) == ("a\nb\n", b"TAR")
    assert system.calls[-1][1]["platform"] == {"os": "linux", "architecture": "arm64"}
    piped = system.run("image", "save", "a")
    assert (piped.stdout, piped.stderr) == ("TAR", "a\n")
    failed = system.run("image", "save", "gone")
    assert failed.stderr.splitlines() == [
        "failed to get image for reference gone: image with reference gone",
        "Error: failed to save image(s): nothing was written",
    ]


def test_image_tag_and_inspect(system: FakeSystem) -> None:
    image = {"id": "1", "configuration": {"name": "docker.io/library/a:1"}, "variants": []}

    def get(parameters: dict[str, Any], fds: list[int]) -> Any:
        if parameters["reference"] != "a":
            raise Reject("notFound", "image with reference")
        return {"image": image}

    system.answers["Images.Get"] = get
    assert system.run("image", "tag", "a", "b:2").stdout == "b:2\n"
    assert json.loads(system.run("image", "inspect", "a", "a").stdout) == [image]
    assert system.run("image", "inspect", "z", "a", "y").stderr == f"Error: image not found: y, z{THERE[1]}\n"


HEALTH = {
    "appRoot": "/app",
    "installRoot": "/install",
    "logRoot": "/log",
    "apiServerVersion": "container-apiserver version 1",
    "apiServerCommit": "abc",
    "apiServerBuild": "release",
    "apiServerAppName": "container-apiserver",
    "accelerator": "tcg",
    "acceleratorReason": "no /dev/kvm",
    "supervisor": "builtin",
    "starts": 7,
    "repeatedStarts": 1,
}


def test_system_status(system: FakeSystem, offline: FakeSystem) -> None:
    system.answers["System.Ping"] = {"health": HEALTH}
    table = system.run("system", "status").stdout.splitlines()
    assert [line.split()[0] for line in table] == [
        "FIELD",
        "status",
        "appRoot",
        "installRoot",
        "logRoot",
        "apiserver.version",
        "apiserver.commit",
        "apiserver.build",
        "apiserver.appName",
        "accelerator",
        "supervisor",
        "starts",
        "repeated",
    ]
    assert table[-4].endswith("tcg (no /dev/kvm)")
    assert [line.split() for line in table[-2:]] == [["starts", "7"], ["repeated", "starts", "1"]]
    assert json.loads(system.run("s", "status", "--format", "json").stdout) == {"status": "running", **HEALTH}


def test_system_status_of_a_system_that_is_down(offline: FakeSystem) -> None:
    down = offline.run("system", "status")
    assert down.stdout == "apiserver is not running and not registered with the supervisor\n"
    assert down.returncode == 1
    report = json.loads(offline.run("system", "status", "--format", "json").stdout)
    assert report["status"] == "unregistered"
    assert report["appRoot"] == report["apiServerVersion"] == ""


def test_system_status_of_an_api_server_that_does_not_answer(offline: FakeSystem) -> None:
    offline.serve(paths.SUPERVISOR)
    offline.answers["Supervisor.List"] = {"jobs": [{"job": {"label": paths.APISERVER}}]}
    down = offline.run("system", "status")
    assert (down.stdout, down.returncode) == ("apiserver is not running\n", 1)
    offline.close()


def test_system_version(system: FakeSystem) -> None:
    system.answers["System.Ping"] = {"health": HEALTH}
    rows = system.run("system", "version").stdout.splitlines()
    assert [row.split()[0] for row in rows] == ["COMPONENT", "container", "container-apiserver"]
    assert [each["appName"] for each in json.loads(system.run("system", "version", "--format=json").stdout)] == [
        "container",
        "container-apiserver",
    ]


def test_system_version_without_a_server(offline: FakeSystem) -> None:
    assert len(offline.run("system", "version").stdout.splitlines()) == 2


def test_system_stop_of_a_stopped_system(offline: FakeSystem) -> None:
    result = offline.run("system", "stop")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_system_property_list(offline: FakeSystem) -> None:
    assert tomllib.loads(offline.run("system", "property", "list").stdout)["registry"] == {"domain": "docker.io"}
    assert json.loads(offline.run("system", "property", "ls", "--format", "json").stdout)["container"]["cpus"] == 4
    refused = offline.run("system", "property", "list", "--format", "yaml")
    assert refused.stderr.startswith(
        "Error: The value 'yaml' is invalid for '--format <format>'. Please provide one of 'json' and 'toml'.\n"
    )


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 64, "missing argument '--binary'"),
        (["--binary", "k", "--digest", "sha256:00"], 64, "'--digest' can only be used with '--tar'"),
        (["--binary", "k", "--tar", "http://h/x.tar"], 64, "'--digest' is required when '--tar' is a remote URL"),
        (["--binary", "k", "--arch", "riscv64"], 1, "unsupported architecture riscv64"),
        (
            ["--binary", "k", "--tar", "x", "--digest", "00"],
            1,
            "invalid digest value '00': expected '<algorithm>:<hex>'",
        ),
        (["--binary", "k", "--tar", "x", "--digest", "md5:00"], 1, "unsupported digest algorithm 'md5'"),
        (["--binary", "k", "--tar", "x", "--digest", "sha256:00"], 1, "invalid sha256 digest value '00'"),
    ],
)
def test_kernel_set_errors(offline: FakeSystem, words: list[str], code: int, message: str) -> None:
    result = offline.run("system", "kernel", "set", *words)
    assert result.stderr.startswith(f"Error: {message}")
    assert result.returncode == code


def test_kernel_set_sends_absolute_paths(system: FakeSystem, tmp_path: Path) -> None:
    result = system.run("system", "kernel", "set", "--binary", "k", "--modules", "m", "--force", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (0, "")
    sent = system.calls[0][1]
    assert (sent["binary"], sent["modules"], sent["force"]) == (f"{tmp_path}/k", f"{tmp_path}/m", True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["system", "start", "--timeout", "soon"], "Invalid timeout value: soon"),
        (
            ["system", "logs", "--last", "5x"],
            "invalid --last value '5x': expected a positive integer (seconds) or a value with suffix m, h, or d"
            " (e.g. 30, 5m, 1h, 2d)",
        ),
    ],
)
def test_system_option_errors(offline: FakeSystem, words: list[str], message: str) -> None:
    result = offline.run(*words)
    assert result.stderr.splitlines()[0] == f"Error: {message}"
    assert result.returncode == 64


def test_debug_lines_have_a_time(system: FakeSystem) -> None:
    system.answers["Networks.Prune"] = {"result": {"deleted": [], "failed": {"c": "why"}}}
    result = system.run("--debug", "network", "prune")
    assert result.stderr[10] == "T"
    assert result.stderr[23] == "Z"
    assert result.stderr[25:] == "failed to prune network c: why\n"


def test_a_reader_that_leaves_is_no_traceback(system: FakeSystem) -> None:
    system.answers["Containers.List"] = {"containers": [snapshot(f"c{number}") for number in range(3000)]}
    command = subprocess.Popen(
        system.command("list"), env=system.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert command.stdout is not None
    assert command.stderr is not None
    command.stdout.close()
    assert command.stderr.read() == b""
    assert command.wait(20) == 141
    command.stderr.close()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_a_waiting_command(system: FakeSystem, number: signal.Signals, code: int) -> None:
    import threading

    arrived, release = threading.Event(), threading.Event()

    def hang(parameters: dict[str, Any], fds: list[int]) -> Any:
        arrived.set()
        release.wait(20)
        return {}

    system.answers["Containers.Stop"] = hang
    command = subprocess.Popen(system.command("stop", "web"), env=system.environment, stderr=subprocess.PIPE)
    assert arrived.wait(20)
    command.send_signal(number)
    assert command.communicate(timeout=20)[1] == b""
    assert command.returncode == code
    release.set()


def test_listing_imports_little(system: FakeSystem) -> None:
    system.answers["Containers.List"] = {"containers": []}
    script = (
        "import sys; from container.cli.main import main; main(['list']);"
        "print(sorted({'asyncio', 'asyncvarlink', 'dataclasses', 'inspect', 'typing', 'socket', 'subprocess', 'shutil',"
        " 'argparse', 'contextlib', 'logging', 'threading', 'tempfile'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], env=system.environment, capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines()[-1] == "[]"
