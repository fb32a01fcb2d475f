"""What a supervisor does, whichever it is: the built-in one, or systemd."""

from typing import Protocol

from container.model.job import Job, JobStatus


class SupervisorBackend(Protocol):
    """Registers, starts and stops the services of one system.

    Errors are ContainerErrors: an unknown label is `notFound`, a supervisor that does not run `interrupted`.
    """

    name: str  # as `system status` shows it

    async def register(self, job: Job) -> None:
        """Make a job known, with its sockets listening; `run_at_load` starts it. An equal job is a no-op, another one
        of the same label `exists`."""

    async def deregister(self, label: str) -> None:
        """Stop a job, remove its sockets and forget it; returns when it has ended."""

    async def start(self, label: str) -> None:
        """Start a job now, unless it runs."""

    async def stop(self, label: str) -> None:
        """Stop a job; it stays registered, and the next client of its sockets starts it again."""

    async def list(self) -> list[JobStatus]:
        """Every job of this system, sorted by label."""

    async def exit(self) -> None:
        """Stop every job, the API server first, and the supervisor if it is ours; returns when the jobs have ended."""
