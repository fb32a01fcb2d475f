"""`config.toml`: sources, defaults, sizes, errors (contract 4.1, 1.8)."""

import os
from pathlib import Path

import pytest

from container import config
from container.errors import ContainerError
from container.paths import Roots


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    """Roots below a temporary directory."""
    return Roots(*(str(tmp_path / name) for name in ("app", "run", "install", "log", "user.toml")))


def _write(path: str | Path, text: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)


def test_defaults(roots: Roots) -> None:
    tables = config.load(roots)
    assert tables["container"] == {"cpus": 4, "memory": "1gb"}
    assert tables["build"] == {"cpus": 2, "memory": "2048mb", "rosetta": True}
    assert tables["registry"] == {"domain": "docker.io"}
    assert config.container_defaults(tables) == (4, 1 << 30, False)
    assert config.network_defaults(tables) == (None, None)
    assert config.dns_domain(tables) is None
    assert config.registry_domain(tables) == "docker.io"


def test_the_first_source_that_has_a_key_wins(roots: Roots) -> None:
    _write(
        f"{roots.install}/etc/container/config.toml", '[container]\ncpus = 2\nmemory = "512m"\n[dns]\ndomain = "a"\n'
    )
    _write(
        roots.config,
        '[container]\ncpus = 3\ninotify = true\n[network]\nsubnet = "10.1.2.3/16"\n'
        "[plugin.x]\nany = 1\n[unknown]\na = 1\n",
    )
    config.install_user_config(roots)
    tables = config.load(roots)
    assert tables["container"] == {"cpus": 3, "inotify": True, "memory": "512mb"}
    assert config.container_defaults(tables).inotify
    assert config.dns_domain(tables) == "a"
    assert config.network_defaults(tables).subnet == "10.1.0.0/16"
    assert tables["plugin"] == {"x": {"any": 1}}
    assert "unknown" not in tables


def test_the_copy_is_read_only_and_goes_with_the_users_file(roots: Roots) -> None:
    copy = f"{roots.app}/config/config.toml"
    for text in ("[container]\ncpus = 3\n", "[container]\ncpus = 5\n"):
        _write(roots.config, text)
        config.install_user_config(roots)
        assert os.stat(copy).st_mode & 0o777 == 0o444
        assert Path(copy).read_text() == text
    os.unlink(roots.config)
    config.install_user_config(roots)
    config.install_user_config(roots)
    assert os.listdir(f"{roots.app}/config") == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[container\n", "failed to decode configuration: "),
        ("[container]\ncpus = 'x'\n", r"container\.cpus: expected an integer, found \"x\""),
        ("[container]\ncpus = true\n", r"container\.cpus: expected an integer, found true"),
        ("[container]\ncpus = 0\n", r"container\.cpus: expected an integer of at least 1, found 0"),
        ("[container]\nmemory = 5\n", r"container\.memory: expected a size such as '1gb', found 5"),
        ("[container]\nmemory = '5 x'\n", r"container\.memory: expected a size"),
        ("[network]\nsubnet = 'fd00::/64'\n", r"network\.subnet: expected an IPv4 CIDR, found \"fd00::/64\""),
        ("[machine]\nhomeMount = 'x'\n", "expected 'ro', 'rw' or 'none'"),
        ("container = 1\n", "container: expected a table"),
        ("[kernel]\nurl = 'x'\n", r"kernel\.digest is required when kernel\.url is not the default URL"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_copied(roots: Roots, text: str, message: str) -> None:
    _write(roots.config, text)
    with pytest.raises(ContainerError, match=message):
        config.install_user_config(roots)
    assert not os.path.exists(roots.app)


def test_an_unreadable_file(roots: Roots) -> None:
    os.makedirs(f"{roots.app}/config/config.toml")
    with pytest.raises(
        ContainerError, match=f"failed to load configuration from '{roots.app}/config/config.toml': Is a"
    ):
        config.load(roots)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("512", 512),
        ("1k", 1024),
        ("2048MB", 2048 << 20),
        ("1 GiB", 1 << 30),
        ("1.5g", 3 << 29),
        (".5k", 512),
        ("1p", 1 << 50),
        ("7B", 7),
        (" 3t ", 3 << 40),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert config.parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "invalid size"), ("g", "invalid size"), ("-1g", "invalid size"), ("1x", "invalid symbol: x")],
)
def test_sizes_that_are_none(text: str, message: str) -> None:
    with pytest.raises(ContainerError, match=message):
        config.parse_size(text)
