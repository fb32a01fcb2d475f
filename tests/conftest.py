"""What holds for every test."""

import resource
import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from support import ordinary
from support.durations import Durations

# Signals end the programs that a test starts, also where the tests run in the background of a shell or below nohup(1),
# which ignore them.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)

# A machine that is busy with something else makes no example wrong.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

DESCRIPTORS = 4096  # that the tests of many connections have open at once


def pytest_configure(config: pytest.Config) -> None:
    """Have the descriptors that the tests need, or say what to raise before the first of them runs."""
    config.pluginmanager.register(Durations())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < DESCRIPTORS:
        pytest.exit(f"the tests need {DESCRIPTORS} open files, the limit is {hard}: raise it with `ulimit -n`", 1)
    if soft != resource.RLIM_INFINITY and soft < DESCRIPTORS:
        resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, hard))


@pytest.fixture(scope="session", autouse=True)
def _no_user_is_left() -> Iterator[None]:
    """The account that tests make for themselves goes with the last of them."""
    yield
    ordinary.remove_user()
