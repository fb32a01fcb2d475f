"""One run of a container, from its launch to its status: acquires everything, in the order that is quickest, and lets
go of everything in the reverse order, however it ends.

What QEMU does not need is imported, made and asked for while the guest boots.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from container.errors import ContainerError, ErrorCode, internal, unexpected
from container.model.container import ContainerStatus
from container.model.launch import Launch
from container.plugins.runtime import network, plan, upper
from container.plugins.runtime.bootlog import KernelLog
from container.plugins.runtime.network import Attached
from container.plugins.runtime.process import ContainerProcess
from container.plugins.runtime.states import Running, State, Stopping, ended, now
from container.plugins.runtime.timeline import Timeline
from container.vm.initramfs import agent_path, build
from container.vm.qemu import VirtualMachine
from container.vm.saved import SavedMachine
from container.vm.spec import Nic, VMSpec

if TYPE_CHECKING:
    from container.guest.client import GuestClient
    from container.guest.streams import Tee
    from container.linux.ports import BoundPorts
    from container.plugins.runtime.sockets import Forward, HostSockets
    from container.plugins.runtime.storage import Storage

BOOT_LOG, STDIO_LOG = "boot.log", "stdio.log"
# Seconds, each times the accelerator's `speed`.
BOOT_DEADLINE = 12.0
RESTORE_DEADLINE = 5.0
REQUEST_DEADLINE = 20.0
EXECS_DEADLINE = 2.0
SHUTDOWN_DEADLINE = 5.0
POWER_OFF_DEADLINE = 1.0

_log = logging.getLogger(__name__)


class Life:
    """One run. `become` is told each new state but the last, which is up to the owner."""

    def __init__(
        self,
        bundle: str,
        cache: str,
        launch: Launch,
        init: ContainerProcess,
        *,
        group: asyncio.TaskGroup,
        timeline: Timeline,
        become: Callable[[State], None],
    ) -> None:
        """`cache` is the directory of templates and initramfs; `group` runs what must outlive a call."""
        self._bundle, self._cache = bundle, cache
        self._launch, self._init = launch, init
        self._group, self._timeline, self._become = group, timeline, become
        self.speed = launch.accelerator.speed
        self._scope: asyncio.Timeout | None = None
        self._aborted: str | None = None
        self._started_date: str | None = None
        self._answered = self._exited = self._powers_off = self._over = False
        self._forwards: list[Forward] = []
        self._storage: Storage | None = None
        self.relaying: asyncio.Task[None] | None = None
        self.error: ContainerError | None = None

    def abort(self, exit_code: int, reason: str) -> None:
        """End the run now, whatever it does; `live` returns when everything is let go."""
        if self._aborted is not None or self._over:
            return
        self._aborted = reason
        if self._init.exit_code is None:
            self._init.exit_code = exit_code
        if self._scope is not None:
            self._scope.reschedule(asyncio.get_running_loop().time())

    async def live(self) -> ContainerStatus:
        """The whole run. Always returns a status; `error` is why it did not end by itself."""
        try:
            async with (
                asyncio.timeout(0 if self._aborted else None) as self._scope,
                contextlib.AsyncExitStack() as stack,
            ):
                await self._run(stack)
        except TimeoutError:
            self.error = ContainerError(ErrorCode.INTERRUPTED, self._aborted or "the run was interrupted")
        except ContainerError as error:
            self.error = error
        except Exception:
            _log.exception("container %s failed unexpectedly", self._launch.configuration.id)
            self.error = unexpected(f"running container {self._launch.configuration.id}")
        finally:
            self._over = True
        self._timeline.mark("cleaned up")
        return self._status()

    def _status(self) -> ContainerStatus:
        if self._init.oom_killed and self._init.exit_code:
            self.error = internal("the container ran out of memory; give it more with --memory")
        reason = None if self.error is None else self.error.describe()
        return ended(self._started_date, self._init.exit_code, reason)

    async def _run(self, stack: contextlib.AsyncExitStack) -> None:
        configuration = self._launch.configuration
        plan.check(configuration)
        ports = self._bind_ports(stack)
        published = self._bind_sockets(stack)
        answers = await stack.enter_async_context(network.attach(self._launch, self._group))
        disk, initramfs = await asyncio.to_thread(self._make_disks)
        self._timeline.mark("disks ready")
        storage = self._storage = await self._attach_storage(stack)
        attached = await answers()
        self._timeline.mark("networks attached")
        nics = [Nic(item.tap) for item in attached]
        volumes, shares = (storage.disks, storage.shares) if storage else ((), ())
        spec = plan.machine(self._launch, initramfs, disk, nics, len(os.sched_getaffinity(0)), volumes, shares)
        saved = stack.enter_context(SavedMachine.of(spec, self._cache))
        session = partial(self._session, ports, published, attached, spec, saved)
        try:
            await self._power(spec, saved, session)
        except ContainerError as error:
            if saved.fd is None or self._answered:
                raise
            _log.warning("%s: cannot go on from the saved machine, boots: %s", configuration.id, error.describe())
            saved.discard()
            await self._power(spec, saved, session)

    async def _power(
        self, spec: VMSpec, saved: SavedMachine, session: "Callable[[VirtualMachine], Coroutine[Any, Any, None]]"
    ) -> None:
        """One machine, from the start of QEMU to its end."""
        storage, boot_log = self._storage, os.path.join(self._bundle, BOOT_LOG)
        async with (
            VirtualMachine.start(saved.bootable(spec), boot_log=boot_log, state=saved.fd) as vm,
            contextlib.AsyncExitStack() as stack,
        ):
            self._timeline.mark("QEMU started")
            if storage is not None:
                storage.handed_over()
                watching = storage.watch(vm, self.abort, POWER_OFF_DEADLINE * self.speed)
                stack.callback(self._group.create_task(watching).cancel)
            try:
                await vm.guard(session(vm), doing=f"running container {spec.name}")
            except ContainerError as error:
                if not self._exited:
                    raise (storage.failure() if storage else None) or error from error
                _log.warning("%s: the machine ended before it had shut down", spec.name, exc_info=True)
            if self._powers_off:
                await vm.shutdown(grace=POWER_OFF_DEADLINE)

    def _bind_ports(self, stack: contextlib.AsyncExitStack) -> "BoundPorts | None":
        published = self._launch.configuration.published_ports
        if not published:
            return None
        from container.linux.ports import bind_ports

        ports = stack.enter_context(bind_ports(published))
        self._timeline.mark("ports bound")
        return ports

    def _bind_sockets(self, stack: contextlib.AsyncExitStack) -> "HostSockets | None":
        published = self._launch.configuration.published_sockets
        if not published:
            return None
        from container.plugins.runtime import sockets

        return stack.enter_context(sockets.bind(published, self._bundle))

    async def _attach_storage(self, stack: contextlib.AsyncExitStack) -> "Storage | None":
        """Volumes and directories of the host, when the container has any."""
        if all(mount.kind == "tmpfs" for mount in self._launch.configuration.mounts):
            return None
        from container.plugins.runtime import storage

        if unprepared := storage.unprepared(self._launch.configuration.mounts):
            from container.plugins.runtime.prepare import prepare

            await prepare(self._launch, unprepared, self._bundle, self._cache, self._group)
        attached = await stack.enter_async_context(storage.attach(self._launch.configuration, self._bundle))
        self._timeline.mark("volumes attached")
        return attached

    def _make_disks(self) -> tuple[str, str]:
        disk = upper.of(self._launch.configuration, self._bundle, self._cache)
        return disk, build(self._launch.kernel, agent_path(), self._cache)

    async def _session(
        self,
        ports: "BoundPorts | None",
        published: "HostSockets | None",
        attached: Sequence[Attached],
        spec: VMSpec,
        saved: SavedMachine,
        vm: VirtualMachine,
    ) -> None:
        """From the boot to the guest's shutdown, all of it while the machine lives."""
        import container.guest.streams  # noqa: F401  # now, while the guest boots, for `process`
        from container.guest.client import GuestClient
        from container.plugins.runtime import setup, sockets
        from container.plugins.runtime.logs import LogWriter

        async with contextlib.AsyncExitStack() as stack:
            log = LogWriter(os.path.join(self._bundle, STDIO_LOG), call_later=asyncio.get_running_loop().call_later)
            stack.callback(log.close)
            if saved.wanted:
                await saved.save(spec, vm.qmp)
                self._timeline.mark("machine saved")
            client = stack.enter_async_context(GuestClient.connect(vm.agent, timeout=2 * BOOT_DEADLINE * self.speed))
            limit = BOOT_DEADLINE if saved.fd is None else RESTORE_DEADLINE
            guest = await vm.guard(client, doing="booting the virtual machine", deadline=limit)
            self._answered = True
            if saved.fd is None:
                self._timeline.mark_boot(guest.info.uptime_ms, guest.info.started_ms)
            self._timeline.mark("agent answered")
            volumes = self._storage.volumes if self._storage else ()
            await setup.set_up(guest, self._launch, attached, volumes, REQUEST_DEADLINE * self.speed)
            self._timeline.mark("guest set up")
            if ports is not None:
                from container.plugins.runtime.ports import published as published_ports

                await stack.enter_async_context(published_ports(ports, attached, self._group))
                self._timeline.mark("ports published")
            self._forwards = sockets.forwards(self._launch)
            if self._forwards or published is not None:
                await stack.enter_async_context(sockets.relay(guest, published, self._forwards, self._group))
            running = await self._start_init(guest, attached, log.write)
            stack.callback(self._group.create_task(vm.keep_going()).cancel)
            if self._storage is not None:
                stack.enter_context(self._storage.replaying(guest, self._group))
            kernel_log = KernelLog(guest, os.path.join(self._bundle, BOOT_LOG), POWER_OFF_DEADLINE * self.speed)
            stack.enter_context(kernel_log.collected(self._group))
            await self._init.exited()
            self._exited = True
            self._timeline.mark("process ended")
            self._become(Stopping(running))
            await self._shut_down(guest, running, kernel_log)

    async def _start_init(self, guest: "GuestClient", attached: Sequence[Attached], tee: "Tee") -> Running:
        from container.plugins.runtime import guestplan

        configuration, streams = self._launch.configuration, self._init.streams
        deadline = self.speed * (REQUEST_DEADLINE if self._storage is None else plan.FIRST_USE_DEADLINE)
        async with contextlib.AsyncExitStack() as stack:
            if self._storage is not None:
                configuration = replace(configuration, mounts=self._storage.mounts)
                await stack.enter_async_context(self._storage.first_use(deadline))
            await self._init.start(
                guest.start_init(
                    configuration.id,
                    guestplan.process(self._launch, configuration.init_process),
                    guestplan.container(configuration, self._forwards),
                    stdin=streams.stdin is not None,
                    size=streams.window(),
                    timeout=deadline,
                ),
                tee,
            )
        self.relaying = self._group.create_task(self._init.relay())
        self._timeline.mark("process started")
        self._started_date = now()
        attachments = [item.attachment for item in attached]
        running = Running(self._launch, guest, self._init, attachments, self._started_date)
        self._become(running)
        self._timeline.save(self._bundle)
        return running

    async def _shut_down(self, guest: "GuestClient", running: Running, kernel_log: KernelLog) -> None:
        """Unmount the disks. The kernel killed the other processes together with the init process.

        A container that is removed now and has no volumes has nothing to lose: its machine is switched off.
        """
        if self._launch.configuration.auto_remove and self._storage is None:
            return
        await kernel_log.complete()
        for process in list(running.execs.values()):
            with contextlib.suppress(TimeoutError, ContainerError):
                await asyncio.wait_for(process.exited(), EXECS_DEADLINE * self.speed)
        await upper.trim(guest, self._bundle, timeout=POWER_OFF_DEADLINE * self.speed)
        try:
            await guest.shutdown(timeout=SHUTDOWN_DEADLINE * self.speed)
            self._powers_off = True
            self._timeline.mark("guest shut down")
        except ContainerError as error:
            _log.warning("%s: the guest did not shut down: %s", running.init.id, error)
