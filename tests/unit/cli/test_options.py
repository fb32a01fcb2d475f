"""Checks of option values, with the contract's texts (1.7-1.12, 2.1)."""

from pathlib import Path
from typing import Any

import pytest

from container.cli.options import (
    create,
    devices,
    environment,
    labels,
    mounts,
    networks,
    platform,
    ports,
    process,
    security,
    size,
    ulimits,
)
from container.cli.parser import parse
from container.cli.spec import Command
from container.cli.usage import UsageError
from container.errors import ContainerError

RUN = Command(
    "Run",
    lambda values: 0,
    options=create.options([]),
    arguments=create.ARGUMENTS,
    passthrough=True,
    validate=networks.check_dns,
)


def _request(*words: str) -> dict[str, Any]:
    return create.request(parse(RUN, [*words, "alpine"]))


def _message(call: Any, *arguments: Any) -> str:
    with pytest.raises(ContainerError) as caught:
        call(*arguments)
    return caught.value.message


@pytest.mark.parametrize(("text", "size_in_bytes"), [("200m", 200 << 20), ("1.5GiB", 3 << 29), ("300 mb", 300 << 20)])
def test_memory_is_1024_based(text: str, size_in_bytes: int) -> None:
    assert size.parse_memory(text) == size_in_bytes


def test_memory_is_cut_to_whole_mebibytes() -> None:
    assert size.parse_memory(str((256 << 20) + 5)) == 256 << 20


def test_memory_errors() -> None:
    assert "minimum memory amount allowed is 200 MiB (got 1048576 bytes)" in _message(size.parse_memory, "1m")
    assert "invalid size 'lots'" in _message(size.parse_memory, "lots")
    assert "invalid symbol: q" in _message(size.parse_memory, "12q")


def test_environment_takes_files_first_then_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INHERITED", "yes")
    monkeypatch.delenv("ABSENT", raising=False)
    file = tmp_path / "env"
    file.write_text('# comment\n\n  A=from file # not a comment\nINHERITED\nABSENT\nEMPTY=\nQ="quoted"\n')
    assert environment.environment([str(file)], ["B=2", "INHERITED", "ABSENT", "C="]) == [
        "A=from file # not a comment",
        "INHERITED=yes",
        "EMPTY=",
        'Q="quoted"',
        "B=2",
        "INHERITED=yes",
        "C=",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"x y=1\n", "variable 'x y' contains whitespaces"),
        (b"=1\n", "no variable name on line '=1'"),
        (b"A=\xff\n", "env file {} contains invalid utf8 bytes"),
    ],
)
def test_env_file_errors(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "env"
    file.write_bytes(content)
    assert message.format(file) in _message(environment.read_file, str(file))


def test_a_missing_env_file_is_named() -> None:
    assert "failed to read envfile at /no/such" in _message(environment.read_file, "/no/such")


def test_ulimits() -> None:
    assert ulimits.parse_ulimits(["nofile=1024:2048", "core=unlimited", "cpu=-1", "nproc=5"]) == [
        {"limit": "RLIMIT_NOFILE", "soft": 1024, "hard": 2048},
        {"limit": "RLIMIT_CORE", "soft": 2**64 - 1, "hard": 2**64 - 1},
        {"limit": "RLIMIT_CPU", "soft": 2**64 - 1, "hard": 2**64 - 1},
        {"limit": "RLIMIT_NPROC", "soft": 5, "hard": 5},
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nofile"], "invalid ulimit format 'nofile': expected <type>=<soft>[:<hard>]"),
        (["nofile=1:2:3"], "invalid ulimit format 'nofile=1:2:3': expected <type>=<soft>[:<hard>]"),
        (
            ["files=1"],
            "unsupported ulimit type 'files': valid types are core, cpu, data, fsize, locks, memlock, msgqueue, nice,"
            " nofile, nproc, rss, rtprio, rttime, sigpending, stack",
        ),
        (["nofile=x"], "invalid ulimit value 'x' for 'nofile': must be a non-negative integer or 'unlimited'"),
        (["nofile=2:1"], "ulimit 'nofile' soft limit (2) cannot exceed hard limit (1)"),
        (["nofile=1", "nofile=2"], "duplicate ulimit type: nofile"),
    ],
)
def test_ulimit_errors(words: list[str], message: str) -> None:
    assert message in _message(ulimits.parse_ulimits, words)


def test_labels() -> None:
    assert labels.parse_labels(["a=1", "b", "c="]) == {"a": "1", "b": "", "c": ""}
    assert "invalid label format a=b=c" in _message(labels.parse_labels, ["a=b=c"])
    assert "label cannot be an empty string" in _message(labels.parse_labels, [""])


def test_capabilities() -> None:
    assert security.parse_capabilities(["net_admin", "CAP_CHOWN", "all", "chown"]) == [
        "CAP_NET_ADMIN",
        "CAP_CHOWN",
        "ALL",
    ]
    assert "invalid CapabilityName 'FLY'" in _message(security.parse_capabilities, ["FLY"])


def test_paths_add_to_the_defaults_until_none() -> None:
    assert security.parse_paths("--masked-path", [], security.MASKED) is None
    added = security.parse_paths("--masked-path", ["/secret/", "/secret"], security.MASKED)
    assert added is not None
    assert added[-1] == "/secret"
    assert added[0] == "/proc/asound"
    assert len(added) == 12
    assert security.parse_paths("--masked-path", ["/a", "none", "/b"], security.MASKED) == ["/b"]
    assert (
        _message(security.parse_paths, "--masked-path", ["x"], "")
        == "invalid path 'x' for --masked-path: path must be absolute, or the NONE sentinel"
    )


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("8080:80", ("0.0.0.0", 8080, 80, "tcp", 1)),
        ("127.0.0.1:8080:80/UDP", ("127.0.0.1", 8080, 80, "udp", 1)),
        ("[::1]:8080:80", ("::1", 8080, 80, "tcp", 1)),
        ("8000-8010:9000-9010/tcp", ("0.0.0.0", 8000, 9000, "tcp", 11)),
    ],
)
def test_published_ports(word: str, expected: tuple[object, ...]) -> None:
    assert tuple(ports.parse_port(word).values()) == expected


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["80"], "invalid publish value: 80"),
        (["8080:80/sctp"], "invalid publish protocol: sctp"),
        (["1.2.3:8080:80"], "invalid publish IPv4 address: 1.2.3"),
        (["[zz]:8080:80"], "invalid publish IPv6 address: zz"),
        (["x:80"], "invalid publish host port: x"),
        (["1:80"], "invalid publish host port: 1"),
        (["8080:70000"], "invalid publish container port: 70000"),
        (["9-8:1-2"], "invalid publish host port range: 9-8"),
        (["8-9:9-x"], "invalid publish container port range: 9-x"),
        (["8000-8002:9000-9001"], "publish host and container port counts are not equal: 3:2"),
        (["8080:80", "127.0.0.1:8080:81"], "host ports for different publish port specs may not overlap"),
        ([f"{port}:80" for port in range(1000, 1065)], "cannot exceed more than 64 port publish descriptors"),
    ],
)
def test_publish_errors(words: list[str], message: str) -> None:
    assert message in _message(ports.parse_ports, words)


def test_the_same_port_may_be_published_for_both_protocols() -> None:
    assert len(ports.parse_ports(["5353:53/udp", "5353:53/tcp"])) == 2


def test_networks() -> None:
    assert networks.parse_networks([]) is None
    assert networks.parse_networks(["none"]) == []
    assert networks.parse_networks(["a,mac=F2-00-00-00-00-0A,mtu=1500", "b"]) == [
        {"network": "a", "options": {"hostname": "", "macAddress": "f2:00:00:00:00:0a", "mtu": 1500}},
        {"network": "b", "options": {"hostname": ""}},
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([""], "network specification cannot be empty"),
        ([",mtu=1500"], "network name cannot be empty"),
        (["a,mtu"], "invalid property format 'mtu' in network specification 'a,mtu'"),
        (["a,dns=1"], "unknown network property 'dns'. Available properties: mac, mtu, ip, ip6, alias"),
        (["a,ip=1"], "invalid ip value '1': not an IPv4 address"),
        (["a,ip6=10.0.0.1"], "invalid ip6 value '10.0.0.1': not an IPv6 address"),
        (["a,alias=-"], "invalid alias value '-': not a host name"),
        (["a,mac="], "mac address value cannot be empty"),
        (["a,mac=1:2"], "invalid MAC address format 1:2, expected format: XX:XX:XX:XX:XX:XX"),
        (["a,mtu=100"], "invalid mtu value '100': must be between 1280 and 65535"),
        (["a", "none"], "no other networks may be created along with network none"),
    ],
)
def test_network_errors(words: list[str], message: str) -> None:
    assert message in _message(networks.parse_networks, words)


def test_dns() -> None:
    assert _request("--dns", "1.1.1.1", "--dns-domain", "d", "--dns-search", "s", "--dns-option", "o")["dns"] == {
        "nameservers": ["1.1.1.1"],
        "domain": "d",
        "searchDomains": ["s"],
        "options": ["o"],
    }
    assert _request("--no-dns")["dns"] is None
    assert "nameserver 'x' is not a valid IPv4 or IPv6 address" in _message(_request, "--dns", "x")
    with pytest.raises(UsageError) as caught:
        _request("--no-dns", "--dns-search", "s")
    assert caught.value.message == (
        "`--no-dns` cannot be used with DNS configuration flags"
        " (`--dns`, `--dns-domain`, `--dns-option`, `--dns-search`)"
    )


def test_mounts_of_all_kinds(tmp_path: Path) -> None:
    assert mounts.parse_volume("/data") == {"type": {"volume": {}}, "source": "", "destination": "/data", "options": []}
    assert mounts.parse_volume("db:/data:ro")["type"] == {"volume": {"name": "db"}}
    assert mounts.parse_volume("db:/data:ro")["options"] == ["ro"]
    assert mounts.parse_volume(f"{tmp_path}:/data")["type"] == {"virtiofs": {}}
    assert mounts.parse_mount(f"src={tmp_path},dst=/data,readonly") == {
        "type": {"virtiofs": {}},
        "source": str(tmp_path),
        "destination": "/data",
        "options": ["ro"],
    }
    assert mounts.parse_mount("type=tmpfs,target=/t,size=1m,mode=1777")["options"] == ["size=1048576", "mode=1777"]
    tmpfs = mounts.parse_tmpfs("/t:size=1m,mode=1777,noexec")
    assert (tmpfs["destination"], tmpfs["options"]) == ("/t", ["size=1048576", "mode=1777", "noexec"])
    with pytest.raises(ContainerError, match="unknown option huge=always"):
        mounts.parse_tmpfs("/t:huge=always")
    assert mounts.parse_mount("type=volume,target=/t")["type"] == {"volume": {}}
    options = f"type=bind,src={tmp_path},dst=/data,inotify,uid=1000,gid=5"
    assert mounts.parse_mount(options)["options"] == ["inotify", "uid=1000", "gid=5"]
    assert len(mounts.parse_mounts([], ["type=volume,target=/t"] * 2, ["/x", "/x"])) == 2


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("target=/d,source=/no/such", "path '/no/such' does not exist"),
        ("target=/d,source=/etc/passwd", "path '/etc/passwd' is not a directory"),
        ("type=nfs,target=/d", "unsupported mount type nfs"),
        ("type=tmpfs,source=/x,target=/d", "cannot specify source for tmpfs mount"),
        ("source=/tmp", "mount destination cannot be empty"),
        ("type=volume,source=db", "volume destination cannot be empty"),
        ("type=volume,target=/d,size=1m", "unsupported option size for volume mount"),
        ("type=volume,target=/d,mode=1", "unsupported option mode for volume mount"),
        ("type=volume,target=/d,uid=1", "unsupported option uid for volume mount"),
        ("type=tmpfs,target=/d,inotify", "unknown directive inotify when parsing mount type=tmpfs,target=/d,inotify"),
        ("colour=red,target=/d", "unknown directive colour when parsing mount colour=red,target=/d"),
        ("source=,target=/d", "invalid directive format missing value source= in source=,target=/d"),
    ],
)
def test_mount_errors(word: str, message: str) -> None:
    assert message in _message(mounts.parse_mount, word)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("a:b:c:d", "invalid volume format a:b:c:d"),
        ("name", "invalid volume format name"),
        ("./no-such:/d", "path './no-such' does not exist"),
    ],
)
def test_volume_errors(word: str, message: str) -> None:
    assert message in _message(mounts.parse_volume, word)


@pytest.mark.parametrize(
    ("word", "source", "destination"),
    [
        ("/dev/fuse", "/dev/fuse", "/dev/fuse"),
        ("/dev/fuse:rwm", "/dev/fuse", "/dev/fuse"),
        ("/dev/fuse:/dev/f", "/dev/fuse", "/dev/f"),
        ("/dev/net/tun:/x/tun:rw", "/dev/net/tun", "/x/tun"),
    ],
)
def test_devices(word: str, source: str, destination: str) -> None:
    assert _request("--device", word)["devices"] == [{"source": source, "destination": destination}]


@pytest.mark.parametrize("word", ["fuse", "vendor.com/gpu=all", "/dev/fuse:/a:/b:rwm", "/dev/fuse:/a/", ""])
def test_devices_of_another_form_are_refused(word: str) -> None:
    assert _message(devices.parse_devices, [word]).startswith(f"invalid device '{word}'. Expected: /dev/NAME")


@pytest.mark.parametrize("permissions", ["r", "w", "m", "x", ""])
def test_permissions_that_would_not_hold_are_refused(permissions: str) -> None:
    assert "rwm" in _message(devices.parse_devices, [f"/dev/fuse:/dev/fuse:{permissions}"])


def test_published_sockets() -> None:
    assert mounts.parse_sockets(["/a/b:/c"]) == [{"hostPath": "/a/b", "containerPath": "/c"}]
    assert (
        _message(mounts.parse_sockets, ["/a"]) == "invalid publish-socket format /a. Expected: host_path:container_path"
    )
    assert "containerPath must be absolute: b" in _message(mounts.parse_sockets, ["/a:b"])


def test_platform_precedence(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv(platform.VARIABLE, "linux/arm/v7")
    assert _request("--platform", "linux/aarch64")["platform"] == {"os": "linux", "architecture": "arm64"}
    assert capfd.readouterr().err == ""
    assert _request("--arch", "amd64")["platform"] == {"os": "linux", "architecture": "arm", "variant": "v7"}
    assert capfd.readouterr().err == (
        "using platform from environment variable:"
        ' ["platform": "linux/arm/v7", "variable": "CONTAINER_DEFAULT_PLATFORM"]\n'
    )
    monkeypatch.setenv(platform.VARIABLE, "beos")
    assert _message(_request) == 'invalid platform "beos" in CONTAINER_DEFAULT_PLATFORM environment variable'
    monkeypatch.delenv(platform.VARIABLE)
    assert _request("--arch", "x86-64")["platform"] == {"os": "linux", "architecture": "amd64"}


def test_a_request_holds_what_was_given(tmp_path: Path) -> None:
    kernel = tmp_path / "vmlinux"
    kernel.touch()
    words = "-it -u app:web -w /srv --name web --rm --read-only --init -m 1g -c 2 -l a=b --cap-add net_raw --tmpfs /t"
    request = _request(
        *words.split(), "-k", str(kernel), "--kernel-arg", "quiet", "--entrypoint", "sh", "--shm-size", "1m"
    )
    assert request["process"] == {
        "arguments": [],
        "environment": [],
        "terminal": True,
        "interactive": True,
        "rlimits": [],
        "entrypoint": "sh",
        "workingDirectory": "/srv",
        "user": "app:web",
    }
    expected = {
        "image": "alpine",
        "id": "web",
        "autoRemove": True,
        "readOnly": True,
        "useInit": True,
        "memoryInBytes": 1 << 30,
        "cpus": 2,
        "labels": {"a": "b"},
        "capAdd": ["CAP_NET_RAW"],
        "kernel": str(kernel),
        "kernelArguments": ["quiet"],
        "shmSize": 1 << 20,
        "runtime": "container-runtime-linux",
    }
    assert {key: request[key] for key in expected} == expected
    assert "networks" not in request


def test_a_request_is_a_container_request() -> None:
    from container.model.codec import decode
    from container.model.container import ContainerRequest

    request = decode(
        ContainerRequest, _request("-p", "8080:80", "--tmpfs", "/t", "--network", "default", "--ulimit", "core=1")
    )
    assert request.published_ports[0].host_port == 8080
    assert request.mounts[0].kind == "tmpfs"
    assert request.process.rlimits[0].limit == "RLIMIT_CORE"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-k", "/no/kernel"], "kernel file not found at path /no/kernel"),
        (["--scheme", "ftp"], "unsupported scheme ftp"),
        (
            ["--max-concurrent-downloads", "0"],
            "maximum number of concurrent downloads must be greater than 0, got 0",
        ),
    ],
)
def test_other_option_errors(words: list[str], message: str) -> None:
    assert message in _message(_request, *words)


def test_cpus_below_one_are_a_command_line_error() -> None:
    with pytest.raises(UsageError, match="The value '0' is invalid for '--cpus <cpus>': must be at least 0"):
        _request("--cpus", "0")


@pytest.mark.parametrize(
    ("text", "cpus", "quota"),
    [("2", 2, None), ("1.5", 2, 150_000), (".25", 1, 25_000), ("3.0", 3, None), ("0.01", 1, 1000)],
)
def test_a_fraction_of_a_cpu_is_a_quota_on_the_next_whole_number(text: str, cpus: int, quota: int | None) -> None:
    request = _request("--cpus", text)
    assert (request["cpus"], request.get("cpuQuota")) == (cpus, quota)


@pytest.mark.parametrize("text", ["0.009", "-1", "1.5.5", "1,5", "x", "", ".", "1e3", "٣"])
def test_other_numbers_of_cpus_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is invalid for '--cpus <cpus>'"):
        _request("--cpus", text)


def test_ids_of_users_are_bounded() -> None:
    with pytest.raises(UsageError, match="The value '-1' is invalid for '--uid <uid>'"):
        _request("--uid", "-1")
    assert process.MAXIMUM_ID == 2**31 - 1
