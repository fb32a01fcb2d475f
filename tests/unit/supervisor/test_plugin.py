"""Plugins are found, or passed over with a reason."""

import importlib
import json
import os
import sys
from pathlib import Path

import pytest

from container.errors import ContainerError, ErrorCode
from container.paths import IMAGES, Roots, network_service, runtime_service
from container.supervisor.discovery import discover, plugin_folders
from container.supervisor.plugin import ServiceType

SERVICE = """
abstract = "A service"
[servicesConfig]
loadAtBoot = true
runAtLoad = true
defaultArguments = ["--default"]
services = [{ type = "auxiliary" }]
"""


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    return Roots(*(str(tmp_path / name) for name in ("app", "run", "install", "log", "config.toml")))


def add(parent: str, name: str, config: str | None, *, file: str = "config.toml", program: bool = True) -> Path:
    folder = Path(parent, name)
    (folder / "bin").mkdir(parents=True)
    if config is not None:
        (folder / file).write_text(config)
    if program:
        (folder / "bin" / name).write_text("#!/bin/sh\n")
        (folder / "bin" / name).chmod(0o755)
    return folder


def test_the_built_in_plugins_and_their_services(roots: Roots) -> None:
    plugins = discover(roots)
    assert plugins.warnings == []
    images, network, runtime = (
        plugins.get(f"container-{name}") for name in ("core-images", "network-bridge", "runtime-linux")
    )
    assert images.service() == IMAGES
    assert network.service("default") == network_service("container-network-bridge", "default")
    assert runtime.service("web") == runtime_service("container-runtime-linux", "web")
    assert plugins.at_boot() == [images]
    assert plugins.of_type(ServiceType.RUNTIME) == [runtime]
    assert plugins.commands() == []


def test_the_job_of_a_built_in_plugin_runs_its_module(roots: Roots) -> None:
    plugin = discover(roots).get("container-runtime-linux")
    job = plugin.job(roots, "web", ["--root", "/bundle", "--uuid", "web"], debug=True)
    module = ["-P", "-m", "container.plugins.runtime.main"]
    assert (job.program, job.arguments) == (
        sys.executable,
        [*module, "start", "--debug", "--root", "/bundle", "--uuid", "web"],
    )
    assert job.label == "io.container.runtime.container-runtime-linux.web"
    assert job.sockets == [roots.socket(job.label)]
    assert job.log_path == f"{roots.log}/{job.label}.log"
    assert job.environment["CONTAINER_APP_ROOT"] == roots.app
    assert not job.keep_alive
    assert discover(roots).get("container-network-bridge").job(roots, "default", []).keep_alive


def test_a_folder_with_program_and_resources(roots: Roots) -> None:
    folder = add(plugin_folders(roots)[1], "extra", SERVICE)
    (folder / "resources").mkdir()
    job = discover(roots).get("extra").job(roots, None, ["--more"])
    assert job.program == str(folder / "bin" / "extra")
    assert job.arguments == ["start", "--resources", str(folder / "resources"), "--more", "--default"]
    assert (job.run_at_load, job.keep_alive) == (True, True)


def test_user_plugins_shadow_installed_and_built_in_ones_with_a_warning(roots: Roots, tmp_path: Path) -> None:
    real = tmp_path / "elsewhere"
    real.mkdir()
    user, installed = plugin_folders(roots)
    os.makedirs(os.path.dirname(user))
    os.symlink(real, user)
    mine = add(str(real), "tool", 'abstract = "mine"')
    other = add(installed, "tool", 'abstract = "theirs"')
    add(installed, "container-core-images", SERVICE)
    plugins = discover(roots)
    assert plugins.get("tool").config.abstract == "mine"
    assert [(item.name, item.program) for item in plugins.commands()] == [("tool", str(mine / "bin" / "tool"))]
    assert f"plugin tool in {other} is shadowed by the one in {mine}" in plugins.warnings
    assert any("plugin container-core-images in" in line and "shadowed" in line for line in plugins.warnings)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (None, "No such file"),
        ("abstract = ", "Invalid value"),
        ("author = 'x'", "the key 'abstract' is missing"),
        ("abstract = 1", "abstract: expected str, found int"),
        (SERVICE.replace("loadAtBoot = true\n", ""), "the key 'loadAtBoot' is missing"),
        (SERVICE.replace("auxiliary", "wrong"), "unknown value 'wrong'"),
        (SERVICE.replace('[{ type = "auxiliary" }]', "[]"), "services is empty"),
        ("abstract = 'x'\nname = '../up'", "invalid plugin name ../up"),
    ],
)
def test_an_unusable_plugin_is_skipped_with_path_and_reason(roots: Roots, config: str | None, reason: str) -> None:
    folder = add(plugin_folders(roots)[0], "broken", config)
    add(plugin_folders(roots)[0], "fine", 'abstract = "x"')
    plugins = discover(roots)
    assert len(plugins.warnings) == 1
    assert str(folder) in plugins.warnings[0]
    assert reason in plugins.warnings[0]
    assert plugins.get("fine").is_command


def test_a_plugin_without_program_is_skipped(roots: Roots) -> None:
    folder = add(plugin_folders(roots)[0], "empty", 'abstract = "x"', program=False)
    assert discover(roots).warnings == [
        f"skipped the plugin in {folder}: the plugin {folder} has no executable {folder}/bin/empty"
    ]


def test_a_legacy_json_configuration_is_read_with_a_warning(roots: Roots) -> None:
    services = {"loadAtBoot": False, "runAtLoad": False, "services": [{"type": "core"}], "defaultArguments": []}
    config = json.dumps({"abstract": "old", "servicesConfig": services})
    folder = add(plugin_folders(roots)[0], "old", config, file="config.json")
    plugins = discover(roots)
    assert plugins.get("old").service() == "io.container.core.old"
    assert plugins.warnings == [f"plugin old in {folder} has a legacy config.json: write a config.toml"]


def test_a_python_package_is_a_plugin_by_entry_point_without_being_imported(
    roots: Roots, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    package = site / "thirdparty" / "plugin"
    package.mkdir(parents=True)
    (site / "thirdparty" / "__init__.py").write_text("raise AssertionError('imported')")
    (package / "config.toml").write_text(SERVICE)
    info = site / "thirdparty-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: thirdparty\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[container.plugins]\nthird = thirdparty.plugin.main\nlost = nowhere.main\n")
    monkeypatch.syspath_prepend(str(site))
    importlib.invalidate_caches()
    plugins = discover(roots)
    job = plugins.get("third").job(roots, None, [])
    assert job.arguments == ["-P", "-m", "thirdparty.plugin.main", "start", "--default"]
    assert [line for line in plugins.warnings if "lost" in line]
    assert "thirdparty" not in sys.modules


def test_names_are_one_path_component(roots: Roots) -> None:
    plugins = discover(roots)
    for name in ("", ".", "..", "a/b"):
        with pytest.raises(ContainerError, match="invalid plugin name") as caught:
            plugins.get(name)
        assert caught.value.code is ErrorCode.INVALID_ARGUMENT
    with pytest.raises(ContainerError) as caught:
        plugins.get("nothing")
    assert caught.value.code is ErrorCode.NOT_FOUND
