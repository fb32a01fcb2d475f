"""The built-in supervisor as its clients see it: the Protocol over `io.container.Supervisor`."""

from container import paths
from container.api.supervisor import Supervisor
from container.ipc.client import Client
from container.model.job import Job, JobStatus
from container.paths import Roots

_STOP_SECONDS = 120.0


class BuiltinSupervisor:
    """Talks to the supervisor process of `roots`; each call is bounded."""

    name = "built-in"

    def __init__(self, roots: Roots, timeout: float = 60.0) -> None:
        path = roots.socket(paths.SUPERVISOR)
        self._client = Client(path, timeout)
        self._patient = Client(path, max(timeout, _STOP_SECONDS))  # stopping waits for a job's own stop_timeout

    async def register(self, job: Job) -> None:
        """See SupervisorBackend."""
        await self._client.call(Supervisor.Register, job=job)

    async def deregister(self, label: str) -> None:
        """See SupervisorBackend."""
        await self._patient.call(Supervisor.Deregister, label=label)

    async def start(self, label: str) -> None:
        """See SupervisorBackend."""
        await self._client.call(Supervisor.Start, label=label)

    async def stop(self, label: str) -> None:
        """See SupervisorBackend."""
        await self._patient.call(Supervisor.Stop, label=label)

    async def list(self) -> list[JobStatus]:
        """See SupervisorBackend."""
        return await self._client.call(Supervisor.List)

    async def exit(self) -> None:
        """See SupervisorBackend."""
        await self._patient.call(Supervisor.Exit)
