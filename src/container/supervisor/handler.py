"""`io.container.Supervisor` on the wire."""

from container.api.supervisor import Supervisor
from container.model.job import Job, JobStatus
from container.supervisor.service import Supervision


class SupervisorHandler(Supervisor):
    """Hands the calls to the jobs' owner."""

    def __init__(self, supervision: Supervision) -> None:
        self._supervision = supervision

    async def Register(self, *, job: Job) -> None:
        self._supervision.register(job)

    async def Deregister(self, *, label: str) -> None:
        await self._supervision.deregister(label)

    async def Start(self, *, label: str) -> None:
        self._supervision.start(label)

    async def Stop(self, *, label: str) -> None:
        await self._supervision.stop(label)

    async def List(self) -> list[JobStatus]:
        return self._supervision.list()

    async def Exit(self) -> None:
        await self._supervision.exit()
