"""`container system stop [-p P]`."""

from __future__ import annotations

import os
import select

from container.cli import client, logger
from container.cli.spec import Command, Values
from container.cli.system.status import PREFIX
from container.errors import ContainerError, ErrorCode
from container.paths import SUPERVISOR, Roots
from container.supervisor import launch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

GRACE = 5  # seconds between the stop signal and KILL
STOP_TIMEOUT = 20.0  # seconds for all containers together
PING_TIMEOUT = 5.0
EXIT_TIMEOUT = 60.0


def run(values: Values) -> int:
    """Stop all containers, then every service; nothing to do when nothing runs."""
    roots = Roots.from_environment()
    if not launch.is_running(roots):
        return 0
    _stop_containers()
    supervisor = _supervisor(roots)
    try:
        logger.info("stopping service", label=SUPERVISOR)
        client.call("Supervisor.Exit", timeout=EXIT_TIMEOUT)
        _wait_ended(supervisor)
    finally:
        if supervisor is not None:
            os.close(supervisor)
    return 0


def _stop_containers() -> None:
    try:
        client.ping(PING_TIMEOUT)
        found = client.containers(all=False)
    except ContainerError as error:
        logger.debug("the API server does not answer", error=error.describe())
        return
    if not found:
        return
    logger.info("stopping containers")
    from threading import Thread

    threads = [Thread(target=_stop, args=(each,), daemon=True) for each in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _stop(container: dict[str, Any]) -> None:
    try:
        client.call("Containers.Stop", {"id": container["id"], "timeout": GRACE}, timeout=STOP_TIMEOUT)
    except ContainerError as error:
        logger.warning(f"failed to stop container {container['id']}: {error.describe()}")


def _supervisor(roots: Roots) -> int | None:
    """A pidfd of the supervisor: its end is the event that a removed socket would only hint at."""
    import socket

    from container.ipc import address
    from container.linux.peercred import peer_credentials

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        try:
            address.connect_service(roots.socket(SUPERVISOR), sock)
            return os.pidfd_open(peer_credentials(sock).pid)
        except OSError:
            return None


def _wait_ended(supervisor: int | None) -> None:
    if supervisor is None:
        return
    ready, _, _ = select.select([supervisor], [], [], EXIT_TIMEOUT)
    if not ready:
        raise ContainerError(
            ErrorCode.TIMEOUT,
            f"cannot stop the system: the supervisor did not end within {EXIT_TIMEOUT:g} s; "
            "try again, `container system logs` may say why",
        )


COMMAND = Command("Stop all containers and the services", run, options=[PREFIX])
