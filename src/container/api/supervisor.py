"""`io.container.Supervisor`: register, start and stop the services of one system (built-in back end)."""

from container.ipc.interface import Interface, method
from container.model.job import Job, JobStatus


class Supervisor(Interface, name="io.container.Supervisor"):
    """Served on `paths.SUPERVISOR`. An unknown label is `notFound`."""

    @method()
    async def Register(self, *, job: Job) -> None:
        """Bind the job's sockets and, with `run_at_load`, start it. An equal job is a no-op, another one `exists`."""

    @method()
    async def Deregister(self, *, label: str) -> None:
        """Stop the job, close and remove its sockets, forget it; returns when it has ended."""

    @method()
    async def Start(self, *, label: str) -> None:
        """Start the job now, unless it runs."""

    @method()
    async def Stop(self, *, label: str) -> None:
        """Stop the job (TERM, `stop_timeout`, KILL); it stays registered and its sockets keep listening."""

    @method("jobs")
    async def List(self) -> list[JobStatus]:
        """Every job, sorted by label."""

    @method()
    async def Exit(self) -> None:
        """Stop every job, the API server first, and end the supervisor; answers before it ends."""
