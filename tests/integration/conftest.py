"""Shared systems and images: a boot costs seconds here, so tests share what they can."""

import os
from collections.abc import Iterator

import pytest
from support import images, ordinary
from support.system import System, running_system

_ARCHIVES = {"debian_system": images.debian, "postgresql_system": images.postgresql}


def pytest_collection_finish(session: pytest.Session) -> None:
    """Make the archives that the chosen tests need; on a busy machine that takes longer than any one test may."""
    wanted = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    if not session.config.option.collectonly:
        for name in _ARCHIVES.keys() & wanted:
            _ARCHIVES[name]()


def _load(system: System, archive: object) -> None:
    with open(str(archive), "rb") as stream:
        system.run("image", "load", stdin=stream, timeout=300)


@pytest.fixture(scope="session", params=["caller", "ordinary-user"])
def system(request: pytest.FixtureRequest) -> Iterator[System]:
    """A running system with the busybox image, once as the caller and once as an ordinary user."""
    user = None
    if request.param == "ordinary-user":
        if os.getuid() != 0:
            pytest.skip("the caller is an ordinary user already")
        user = ordinary.make_user()
    with running_system(user) as started:
        _load(started, images.busybox())
        yield started


@pytest.fixture(scope="session")
def debian_system(system: System) -> System:
    """The system, with the Debian image as well."""
    _load(system, images.debian())
    return system


@pytest.fixture(scope="session")
def postgresql_system(system: System) -> System:
    """The system, with the PostgreSQL image as well."""
    _load(system, images.postgresql())
    return system


@pytest.fixture(scope="module")
def box(system: System) -> Iterator[str]:
    """Id of a busybox container that runs `sleep`, shared by a module."""
    name = f"box-{os.getpid()}"
    system.run("run", "-d", "--name", name, "-m", "256m", "-c", "1", "busybox", "sleep", "100000")
    yield name
    system.run("delete", "-f", name)
