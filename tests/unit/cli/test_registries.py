"""Pull, push, prune, logins and disk usage on the command line, and bars of layers (contract 1.6, 2.5, 2.9, 2.10)."""

import json
import os
import pty
import subprocess
import time
from typing import Any

import pytest

from container.cli.bars import Bars

from .conftest import FakeSystem, Reject

LAYERS = [
    {"name": "0" * 12, "state": "downloading", "bytes": 5 << 20, "totalBytes": 20 << 20},
    {"name": "1" * 12, "state": "waiting", "bytes": 0, "totalBytes": 10 << 20},
    {"name": "2" * 12, "state": "exists", "bytes": 0, "totalBytes": 30 << 20},
    {"name": "3" * 12, "state": "unpacking", "bytes": 40 << 20, "totalBytes": 40 << 20},
]


IMAGE = {"image": {"id": "5" * 64, "configuration": {}, "variants": []}}


def test_pull_prints_nothing_on_standard_output_and_ends_with_reference_and_digest(system: FakeSystem) -> None:
    progress = {"description": "Fetching image", "bytes": 3 << 20, "totalBytes": 12 << 20, "parts": LAYERS}
    system.answers["Images.Pull"] = [{"event": {"progress": progress}}, {"event": {"references": ["docker.io/a:1"]}}]
    system.answers["Images.Get"] = IMAGE
    options = ("--scheme", "http", "--max-concurrent-downloads=7")
    result = system.run("image", "pull", *options, "--progress", "plain", "a:1")
    assert (result.returncode, result.stdout) == (0, "")
    note = f"docker.io/a:1@sha256:{'5' * 64}\n"
    assert result.stderr == "[1/2] Fetching image 25% (3 of 12 MB) [0s]\n" + note
    call = {"reference": "a:1", "scheme": "http", "max_concurrent_downloads": 7}
    assert system.calls[0] == ("Images.Pull", call)
    assert system.run("image", "pull", "a:1").stderr == note, "what takes less than 0.3 s is not shown"
    assert system.run("image", "pull", "--progress=none", "a:1").stderr == ""


@pytest.mark.parametrize(
    ("words", "variable", "platform"),
    [
        (["--platform", "linux/arm64/v8"], "linux/386", {"os": "linux", "architecture": "arm64"}),
        (["-a", "riscv64"], "linux/386", {"os": "linux", "architecture": "riscv64"}),
        ([], "linux/386", {"os": "linux", "architecture": "386"}),
        ([], None, None),
    ],
)
@pytest.mark.parametrize("verb", ["pull", "push"])
def test_the_platform_limits_pull_and_push(
    system: FakeSystem, verb: str, words: list[str], variable: str | None, platform: dict[str, str] | None
) -> None:
    system.answers["Images.Pull"] = system.answers["Images.Push"] = [{"event": {"references": ["x"]}}]
    system.answers["Images.Get"] = IMAGE
    result = system.run("image", verb, *words, "x", env={"CONTAINER_DEFAULT_PLATFORM": variable} if variable else None)
    assert result.returncode == 0
    assert system.calls[0][1].get("platform") == platform
    assert ("CONTAINER_DEFAULT_PLATFORM" in result.stderr) == (platform == {"os": "linux", "architecture": "386"})


def test_bad_words_are_refused_before_anything_is_asked(system: FakeSystem) -> None:
    for verb in ("pull", "push"):
        result = system.run("image", verb, "--scheme", "ftp", "x")
        assert result.returncode == 1
        assert result.stderr == "Error: unsupported scheme ftp; expected auto, http or https\n"
    result = system.run("image", "pull", "--max-concurrent-downloads", "0", "x")
    assert result.stderr == "Error: maximum number of concurrent downloads must be greater than 0, got 0\n"
    bad = system.run("image", "pull", "x", env={"CONTAINER_DEFAULT_PLATFORM": "plan9/x"})
    assert bad.stderr == 'Error: invalid platform "plan9/x" in CONTAINER_DEFAULT_PLATFORM environment variable\n'
    assert system.calls == []


def test_push_prints_the_full_reference(system: FakeSystem) -> None:
    system.answers["Images.Push"] = [{"event": {"references": ["localhost:5000/a:latest"]}}]
    assert system.run("image", "push", "localhost:5000/a").stdout == "localhost:5000/a:latest\n"


def test_run_passes_on_how_to_fetch(system: FakeSystem) -> None:
    system.answers["Containers.Create"] = [{"event": {"id": "web"}}]
    system.run("create", "--scheme=https", "--max-concurrent-downloads", "5", "x")
    request = system.calls[0][1]["request"]
    assert (request["scheme"], request["maxConcurrentDownloads"]) == ("https", 5)


def test_prune_prints_names_then_digests(system: FakeSystem) -> None:
    result = {"untagged": ["docker.io/library/a:1"], "deleted": ["sha256:00", "sha256:11"], "reclaimed": 3_400_000}
    system.answers["Images.Prune"] = {"result": result}
    said = system.run("image", "prune", "-a")
    assert said.stdout == "untagged docker.io/library/a:1\ndeleted sha256:00\ndeleted sha256:11\n"
    assert said.stderr == "Reclaimed 3.4 MB in disk space\n"
    assert system.calls == [("Images.Prune", {"all": True})]


USAGE = {
    "images": {"total": 3, "active": 1, "sizeInBytes": 12_345_678, "reclaimable": 5_555_555},
    "containers": {"total": 2, "active": 1, "sizeInBytes": 90112, "reclaimable": 4096},
    **{
        key: {"total": 0, "active": 0, "sizeInBytes": 0, "reclaimable": 0}
        for key in ("volumes", "kernels", "caches", "logs", "other")
    },
}


def test_df(system: FakeSystem) -> None:
    system.answers["System.DiskUsage"] = {"usage": USAGE}
    assert system.run("system", "df").stdout.splitlines() == [
        "TYPE           TOTAL  ACTIVE  SIZE     RECLAIMABLE   FREED BY",
        "Images         3      1       12.3 MB  5.6 MB (45%)  container image prune -a",
        "Containers     2      1       90 KB    4 KB (5%)     container prune",
        "Local Volumes  0      0       0 B      0 B (0%)      container volume prune",
        "Kernels        0      0       0 B      0 B (0%)      container system prune",
        "Caches         0      0       0 B      0 B (0%)      container system prune",
        "Logs           0      0       0 B      0 B (0%)      container system prune",
        "Other          0      0       0 B      0 B (0%)      -",
    ]
    shown = system.run("system", "df", "--format", "json").stdout
    assert json.loads(shown) == USAGE
    assert '{\n  "caches": {\n    "active": 0,' in shown
    assert "[images]\nactive = 1\n" in system.run("system", "df", "--format=toml").stdout
    assert system.run("system", "df", "--format=yaml").stdout.startswith("images:\n  total: 3\n")


PRUNES = ("Containers.Prune", "Networks.Prune", "Images.Prune", "System.Prune")


def prunable(system: FakeSystem) -> None:
    """Each part has something to remove, of 1,000 bytes."""
    system.answers["System.Ping"] = {"health": {}}
    for method in (*PRUNES, "Volumes.Prune"):
        names = [method.partition(".")[0]]
        result = {"deleted": names, "failed": {}, "reclaimed": 1000, "untagged": []}
        system.answers[method] = {"result": result}


@pytest.mark.parametrize("options", [[], ["-a", "--volumes"]])
def test_system_prune_says_what_goes_and_asks(system: FakeSystem, options: list[str]) -> None:
    prunable(system)
    said = system.run("system", "prune", *options, input="y\n")
    assert said.stdout.startswith("This will remove:\n  - all stopped containers\n")
    assert said.stdout.count("images without a tag") == (not options)
    assert said.stdout.count("volumes that no container refers to, with what is in them") == bool(options)
    assert said.stdout.partition("[y/N] ")[2].splitlines()[0] == "Containers"
    called = [method for method, _ in system.calls if method.endswith(".Prune")]
    assert called == [*PRUNES[:2], *(["Volumes.Prune"] if options else []), *PRUNES[2:]]
    assert ("Images.Prune", {"all": bool(options)}) in system.calls
    assert said.stderr == f"Reclaimed {'4' if options else '3'} KB in disk space\n"


@pytest.mark.parametrize(("answer", "code"), [("n\n", 0), ("\n", 0), ("", 1)])
def test_system_prune_without_a_yes_removes_nothing(system: FakeSystem, answer: str, code: int) -> None:
    prunable(system)
    said = system.run("system", "prune", input=answer)
    assert said.returncode == code
    assert [method for method, _ in system.calls] == ["System.Ping"]
    system.calls.clear()
    assert system.run("system", "prune", "--force").returncode == 0
    assert len(system.calls) == 5


def test_container_prune(system: FakeSystem) -> None:
    result = {"deleted": ["a"], "failed": {"b": "it is being read"}, "reclaimed": 3_400_000}
    system.answers["Containers.Prune"] = {"result": result}
    said = system.run("prune")
    assert (said.stdout, said.returncode) == ("a\n", 0)
    assert said.stderr.splitlines() == [
        "failed to prune container b: it is being read",
        "Reclaimed 3.4 MB in disk space",
    ]


def test_login_reads_the_password_from_standard_input(system: FakeSystem) -> None:
    result = system.run("registry", "login", "-u", "ann", "--password-stdin", "ghcr.io", input="s3cret word\n")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "Login succeeded\n")
    call = {"server": "ghcr.io", "username": "ann", "password": "s3cret word", "scheme": "auto"}
    assert system.calls == [("Images.Login", call)]
    nameless = system.run("registry", "login", "--password-stdin", "ghcr.io", input="x")
    assert (nameless.returncode, nameless.stderr) == (
        1,
        "Error: cannot log in: must provide --username with --password-stdin\n",
    )
    empty = system.run("registry", "login", "-u", "ann", "--password-stdin", "ghcr.io", input="")
    assert (empty.returncode, empty.stderr) == (1, "Error: cannot log in: failed to read password from stdin\n")


def test_login_asks_for_what_is_missing(system: FakeSystem) -> None:
    result = system.run("registry", "login", "ghcr.io", input="ann\npw\n")
    assert result.stdout == "Provide registry username ghcr.io: Provide registry password: "
    assert system.calls[0][1]["username"] == "ann"
    assert system.calls[0][1]["password"] == "pw"
    assert system.run("registry", "login", "ghcr.io", input="").returncode == 1


def test_a_typed_password_is_not_echoed(system: FakeSystem) -> None:
    master, slave = pty.openpty()
    process = subprocess.Popen(
        system.command("registry", "login", "-u", "ann", "ghcr.io"),
        env=system.environment,
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    shown = _read_until(master, b"password: ")
    os.write(master, b"s3cret\n")
    shown += _read_until(master, b"succeeded")
    assert process.wait(10) == 0
    os.close(master)
    assert b"s3cret" not in shown
    assert system.calls[0][1]["password"] == "s3cret"


def _read_until(fd: int, text: bytes) -> bytes:
    seen = b""
    deadline = time.monotonic() + 20
    while text not in seen and time.monotonic() < deadline:
        seen += os.read(fd, 1000)
    return seen


def test_a_refused_login_says_why(system: FakeSystem) -> None:
    def refuse(parameters: dict[str, Any], fds: list[int]) -> Any:
        raise Reject("unknown", "HTTP request to https://r/v2/ failed with response: 401 Unauthorized. Reason: no")

    system.answers["Images.Login"] = refuse
    result = system.run("registry", "login", "-u", "ann", "--password-stdin", "r", input="bad")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(
        "Error: failed to log in to r: HTTP request to https://r/v2/ failed with response: 401 Unauthorized."
    )
    assert "Login succeeded" not in result.stderr


def test_registries_are_listed_without_secrets(system: FakeSystem) -> None:
    date = "2026-01-05T12:00:00Z"
    registry = {"id": "ghcr.io", "name": "ghcr.io", "username": "ann", "labels": {}}
    registry |= {"creationDate": date, "modificationDate": date}
    system.answers["Images.Registries"] = {"registries": [registry]}
    assert system.run("registry", "ls").stdout.splitlines() == [
        "HOSTNAME  USERNAME  MODIFIED              CREATED",
        f"ghcr.io   ann       {date}  {date}",
    ]
    assert system.run("r", "list", "-q").stdout == "ghcr.io\n"
    assert json.loads(system.run("registry", "list", "--format", "json").stdout) == [registry]


def test_logout(system: FakeSystem) -> None:
    result = system.run("registry", "logout", "ghcr.io")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert system.calls == [("Images.Logout", {"server": "ghcr.io"})]


def test_bars_fit_the_terminal() -> None:
    bars = Bars()
    bars.take(LAYERS)
    assert bars.lines(100, 10) == [
        f"  000000000000  downloading  {'━' * 6}{'─' * 18}  5 of 20 MB",
        "  111111111111  waiting      10 MB",
        "  222222222222  exists       30 MB",
        f"  333333333333  unpacking    {'━' * 24}  40 of 40 MB",
    ]
    assert bars.lines(100, 3)[-1] == "  … 2 more"
    assert bars.lines(100, 3)[0].startswith("  000000000000")
    assert bars.lines(100, 3)[1].startswith("  333333333333")
    assert bars.lines(30, 10)[0] == "  000000000000  downloading"
    assert bars.lines(10, 10)[0] == "  0000000"
    assert bars.lines(80, 0) == []


def test_a_rate_is_that_of_the_state(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("container.cli.bars.time.monotonic", lambda: now)
    bars = Bars()
    part = {"name": "a", "state": "downloading", "bytes": 0, "totalBytes": 40 << 20}
    bars.take([part])
    now = 102.0
    bars.take([part | {"bytes": 10 << 20}])
    assert bars.lines(80, 5)[0].endswith("10 of 40 MB  5 MB/s")
    bars.take([part | {"state": "unpacking", "bytes": 0}])
    assert bars.lines(80, 5)[0].endswith("0 bytes of 40 MB")
