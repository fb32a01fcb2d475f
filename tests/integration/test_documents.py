"""README and docs say what works: every command of their ```sh blocks is run, in order, as written."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support import documents, images, registry
from support.documents import DOCUMENTS, ROOT, Machine
from support.system import CLI, System, running_system

pytestmark = [pytest.mark.vm, pytest.mark.root, pytest.mark.timeout(900)]

# Commands that are not run here, with the reason.
NOT_RUN = {
    "make setup": "the caller of these tests ran it",
    "make check": "it is the gate of these tests",
    "make test": "it runs these tests",
    "make bench": "it takes minutes",
    "container system uninstall": "tests/integration/test_uninstall.py runs it",
    "make demo": "tests/integration/test_demo.py runs it, or the caller did",
}
REGISTRY = "registry.example:5000"
HUB = {
    "busybox": ["busybox:latest", "alpine:latest", "alpine:3.22"],
    "debian": ["nginx:latest", "nginx:debian", "debian:latest", "redis:latest", "python:latest"],
}


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[System, Machine]]:
    """A reader's machine: docker.io is a mirror on its loopback; `registry.example` wants a login and has a CA."""
    if os.getuid() != 0:
        pytest.skip("a machine of its own needs root")
    base = tmp_path_factory.mktemp("documents")
    with ExitStack() as stack:
        system = stack.enter_context(running_system())
        system.run("system", "stop")
        holder = stack.enter_context(documents.namespace("127.0.0.1 registry.example"))
        path = f"{Path(CLI).parent}:{system.environment['PATH']}"
        reader = Machine(holder, system.environment | {"PATH": path, "TERM": "xterm"}, base / "work")
        reader.directory.mkdir()
        inside = reader.argv()
        hub = stack.enter_context(registry.running(base / "hub", port=5001, prefix=inside))
        private = stack.enter_context(
            registry.running(
                base / "private", port=5000, tls=True, login=True, prefix=inside, names=["registry.example"]
            )
        )
        for archive, names in HUB.items():
            path = getattr(images, archive)()
            for name in names:
                hub.push(f"oci-archive:{path}", f"library/{name}")
        settings = Path(system.environment["XDG_CONFIG_HOME"], "container", "config.toml")
        settings.parent.mkdir(parents=True, exist_ok=True)
        settings.write_text(
            f'[registry.hosts."docker.io"]\nmirrors = ["http://127.0.0.1:5001"]\n'
            f'[registry.hosts."{REGISTRY}"]\nca = "{private.ca}"\n'
        )
        documents.seed(reader.directory, images.busybox())
        yield system, reader
        reader.type("container system stop || true")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_work_as_written(machine: tuple[System, Machine], document: Path) -> None:
    """Each command of the document ends with 0, or as the document says (`; echo $?`)."""
    found = [command for command in documents.commands(document) if command.text.split("#")[0].strip() not in NOT_RUN]
    if not found:
        pytest.skip("no commands")
    _, reader = machine
    reader.type("container system start --enable-kernel-install")
    try:
        for command in found:
            code, shown = reader.type(command.text)
            assert code == 0, f"{command}\nended with {code}:\n{shown}"
    finally:
        reader.type(
            "container system start; container delete -f --all; container network prune; container volume prune"
        )


def test_blocks_say_what_they_are() -> None:
    """Blocks are fenced and name their language, so that no command escapes these tests."""
    for document in DOCUMENTS:
        fenced = False
        for number, line in enumerate(document.read_text().splitlines(), 1):
            if line.startswith("```"):
                assert fenced or line[3:] in {"sh", "toml", "text", "json", "python"}, f"{document}:{number}: {line}"
                fenced = not fenced
            assert fenced or not line.startswith("    container "), f"{document}:{number}: not in a fenced block"
