"""`container-runtime-linux start --root <bundle> --uuid <id>`: the helper process of one run of one container."""

import time

_BEGAN = time.monotonic()  # before the imports, whose time counts

import asyncio  # noqa: E402
import contextlib  # noqa: E402
import getopt  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402

from container import log, paths  # noqa: E402
from container.ipc.server import serve, stop_on_signals  # noqa: E402
from container.plugins.runtime.handler import RuntimeHandler  # noqa: E402
from container.plugins.runtime.service import RuntimeService  # noqa: E402
from container.plugins.runtime.timeline import Timeline  # noqa: E402

PLUGIN = "container-runtime-linux"
USAGE = "usage: main start [--debug] [--resources DIR] --root BUNDLE --uuid ID"
ANSWER_DEADLINE = 2.0  # seconds that callers get to take their last reply
LATER = (  # what is imported while the guest boots: a fork server does it ahead (container.supervisor.forkserver)
    "concurrent.futures.thread",
    "container.guest.client",
    "container.guest.streams",
    "container.plugins.runtime.guestplan",
    "container.plugins.runtime.logs",
    "container.plugins.runtime.ports",
    "container.plugins.runtime.pulse",
    "container.plugins.runtime.setup",
    "container.plugins.runtime.sockets",
    "qemu.qmp",
)
TERMINATED_GRACE = 3.0  # seconds between TERM and KILL for the container when this process is told to end
SIGTERM = 15


def main() -> None:
    """Serve until the container has stopped."""
    try:
        options, rest = getopt.getopt(sys.argv[2:], "", ["debug", "resources=", "root=", "uuid="])
        given = dict(options)
        bundle, id = os.path.abspath(given["--root"]), given["--uuid"]
        if sys.argv[1] != "start" or rest:
            raise KeyError(sys.argv[1])
    except (getopt.GetoptError, KeyError):
        sys.exit(USAGE)
    log.setup(debug="--debug" in given)
    asyncio.run(run(bundle, id, Timeline(_BEGAN)))


async def run(bundle: str, id: str, timeline: Timeline) -> None:
    """Assemble and serve. SIGTERM stops the container first."""
    roots = paths.Roots.from_environment()
    stop = stop_on_signals()
    async with asyncio.TaskGroup() as group:
        service = RuntimeService(id, bundle, os.path.join(roots.app, "cache"), group=group, timeline=timeline)
        handler = RuntimeHandler(service)
        server = await serve([handler], service=paths.runtime_service(PLUGIN, id), roots=roots)
        async with server:
            timeline.mark("serving")
            ending = group.create_task(_stop_when_told(stop, service))
            await service.wait()
            ending.cancel()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(handler.answered(), ANSWER_DEADLINE)


async def _stop_when_told(stop: asyncio.Event, service: RuntimeService) -> None:
    await stop.wait()
    await service.stop(SIGTERM, TERMINATED_GRACE)


if __name__ == "__main__":
    main()
