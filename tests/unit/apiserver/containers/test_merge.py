"""Process options over the image's configuration (contract 1.9)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from container.apiserver.containers import configuration, merge, names
from container.errors import ContainerError
from container.model.container import ContainerRequest, DNSConfiguration
from container.model.network import AttachmentConfiguration, AttachmentOptions
from container.model.port import PublishPort
from container.model.process import ProcessConfiguration, ProcessRequest, Rlimit, User

IMAGE = {
    "Entrypoint": ["/entry", "-x"],
    "Cmd": ["serve"],
    "Env": ["PATH=/bin", "A=1"],
    "WorkingDir": "/srv",
    "User": "app",
}


def _init(**options: object) -> ProcessConfiguration:
    return merge.init_process(ProcessRequest(**options), IMAGE)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "image", "argv"),
    [
        ({}, IMAGE, ["/entry", "-x", "serve"]),
        ({"arguments": ["a", "b"]}, IMAGE, ["/entry", "-x", "a", "b"]),
        ({"entrypoint": "/mine"}, IMAGE, ["/mine"]),
        ({"entrypoint": "/mine", "arguments": ["a"]}, IMAGE, ["/mine", "a"]),
        ({"entrypoint": ""}, IMAGE, ["/entry", "-x", "serve"]),
        ({"arguments": ["ls"]}, {"Cmd": ["sh"]}, ["ls"]),
        ({}, {"Cmd": ["sh"], "Entrypoint": None}, ["sh"]),
    ],
)
def test_the_command(options: dict[str, object], image: dict[str, object], argv: list[str]) -> None:
    process = merge.init_process(ProcessRequest(**options), image)  # type: ignore[arg-type]
    assert [process.executable, *process.arguments] == argv


def test_no_command_is_an_error() -> None:
    with pytest.raises(ContainerError, match="command/entrypoint not specified for container process"):
        merge.init_process(ProcessRequest(), {"Cmd": []})


def test_a_later_key_wins_at_the_place_of_its_first_mention() -> None:
    process = _init(environment=["B=2", "A=3", "B=4", "EMPTY="])
    assert process.environment == ["PATH=/bin", "A=3", "B=4", "EMPTY="]


def test_path_and_term_are_there_when_nobody_says_otherwise() -> None:
    plain = merge.init_process(ProcessRequest(["sh"]), {"Env": ["no-equals", "A=1"]})
    assert plain.environment == [merge.DEFAULT_PATH, "A=1"]
    assert merge.init_process(ProcessRequest(["sh"], terminal=True), {}).environment[-1] == "TERM=xterm"
    process = merge.init_process(ProcessRequest(["sh"], ["TERM=vt100"], terminal=True), {})
    assert process.environment == [merge.DEFAULT_PATH, "TERM=vt100"]


@given(st.lists(st.tuples(st.sampled_from("ABCD"), st.text("xyz=", max_size=3)), max_size=12))
def test_the_environment_has_each_key_once_with_its_last_value(pairs: list[tuple[str, str]]) -> None:
    process = merge.init_process(ProcessRequest(["sh"], [f"{key}={value}" for key, value in pairs]), {})
    assert dict(entry.split("=", 1) for entry in process.environment[1:]) == dict(pairs)
    assert [entry[0] for entry in process.environment[1:]] == list(dict.fromkeys(key for key, _ in pairs))


@pytest.mark.parametrize(
    ("options", "user", "groups"),
    [
        ({}, User(raw="app"), []),
        ({"user": "web:www", "uid": 3, "gid": 4}, User(raw="web:www"), []),
        ({"uid": 3, "gid": 4}, User(uid=3, gid=4), []),
        ({"uid": 3}, User(raw="3"), []),
        ({"gid": 4}, User(raw="app"), [4]),
    ],
)
def test_the_user(options: dict[str, object], user: User, groups: list[int]) -> None:
    process = _init(**options)
    assert (process.user, process.supplemental_groups) == (user, groups)


def test_the_user_is_root_when_the_image_has_none() -> None:
    assert merge.init_process(ProcessRequest(["sh"]), {"User": ""}).user == User(uid=0, gid=0)


def test_the_working_directory() -> None:
    assert _init().working_directory == "/srv"
    assert _init(working_directory="/tmp").working_directory == "/tmp"
    assert merge.init_process(ProcessRequest(["sh"]), {}).working_directory == "/"


def test_exec_starts_from_the_init_process() -> None:
    init = _init(gid=7, rlimits=[Rlimit("RLIMIT_NOFILE", 1, 2), Rlimit("RLIMIT_CORE", 0, 0)])
    further = merge.exec_process(
        ProcessRequest(["ls", "-l"], ["A=9", "N=1"], rlimits=[Rlimit("RLIMIT_NOFILE", 5, 6)], terminal=True), init
    )
    assert (further.executable, further.arguments) == ("ls", ["-l"])
    assert further.environment == ["PATH=/bin", "A=9", "N=1", "TERM=xterm"]
    assert (further.user, further.supplemental_groups, further.working_directory) == (User(raw="app"), [7], "/srv")
    assert further.rlimits == [Rlimit("RLIMIT_CORE", 0, 0), Rlimit("RLIMIT_NOFILE", 5, 6)]
    assert merge.exec_process(ProcessRequest(["id"], user="root"), init).supplemental_groups == []
    with pytest.raises(ContainerError):
        merge.exec_process(ProcessRequest(), init)


@pytest.mark.parametrize("bad", ["a", "-ab", ".ab", "a b", "ab/", "a" * 64, "", "ä1", "ab\n"])
def test_names_that_are_refused(bad: str) -> None:
    with pytest.raises(ContainerError, match="is not a valid container ID"):
        names.choose_id(bad)


@pytest.mark.parametrize("good", ["ab", "A.b", "a_-", "a" * 63, "web-1.example.com"])
def test_names_that_are_taken(good: str) -> None:
    assert names.choose_id(good) == good


def test_dns_names() -> None:
    assert names.dns_name("web", None) == "web"
    assert names.dns_name("web", "test") == "web.test."
    assert names.dns_name("web.example", "test") == "web.example."


def _request(**options: object) -> ContainerRequest:
    return ContainerRequest("busybox", ProcessRequest(), **options)  # type: ignore[arg-type]


def test_networks_of_a_container() -> None:
    none = [AttachmentConfiguration("none", AttachmentOptions(""))]
    asked = [AttachmentConfiguration("default", AttachmentOptions("", "02:00:00:00:00:01", 9000))]
    assert configuration.networks(_request(), "web", None)[0].options == AttachmentOptions("web", None, 1280)
    assert configuration.networks(_request(networks=none), "web", None) == []
    assert configuration.networks(_request(networks=[]), "web", None) == []
    assert configuration.networks(_request(networks=asked), "web", "d")[0].options == AttachmentOptions(
        "web.d.", "02:00:00:00:00:01", 9000
    )
    with pytest.raises(ContainerError, match="no other networks may be created along with network none"):
        configuration.check(_request(networks=none + asked))
    with pytest.raises(ContainerError, match="without a network"):
        configuration.check(_request(networks=none, published_ports=[PublishPort("0.0.0.0", 80, 80)]))


def test_the_dns_domain_comes_from_the_configuration() -> None:
    from unit.apiserver.containers.fakes import rootfs

    from container.config import ContainerDefaults

    def dns(asked: DNSConfiguration | None) -> DNSConfiguration | None:
        image = rootfs(Cmd=["sh"])
        return configuration.build(_request(dns=asked), "web", image, ContainerDefaults(1, 1 << 28), "test").dns

    assert dns(None) is None
    assert dns(DNSConfiguration()) == DNSConfiguration(domain="test")
    assert dns(DNSConfiguration(domain="mine")) == DNSConfiguration(domain="mine")


def test_bind_mounts_are_watched_where_the_configuration_says_so() -> None:
    from unit.apiserver.containers.fakes import rootfs

    from container.config import ContainerDefaults
    from container.model.mount import Mount

    asked = [
        Mount("virtiofs", "/a", "/a", ["ro"]),
        Mount("virtiofs", "/b", "/b", ["inotify"]),
        Mount("tmpfs", "", "/c"),
    ]
    for inotify, options in ((False, ["ro"]), (True, ["ro", "inotify"])):
        defaults = ContainerDefaults(1, 1 << 30, inotify)
        built = configuration.build(_request(mounts=asked), "web", rootfs(Cmd=["sh"]), defaults, None)
        assert [mount.options for mount in built.mounts] == [options, ["inotify"], []]


def test_memory_is_cut_to_whole_mebibytes() -> None:
    from unit.apiserver.containers.fakes import rootfs

    from container.config import ContainerDefaults

    request = _request(memory_in_bytes=(256 << 20) + 5)
    built = configuration.build(request, "web", rootfs(Cmd=["sh"]), ContainerDefaults(1, 1 << 30), None)
    assert built.resources.memory_in_bytes == 256 << 20
    with pytest.raises(ContainerError, match="minimum memory amount allowed is 200 MiB"):
        configuration.build(_request(), "web", rootfs(Cmd=["sh"]), ContainerDefaults(1, 1), None)
