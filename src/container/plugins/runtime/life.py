"""One run of a container, from its launch to its status: acquires everything, in the order that is quickest, and lets
go of everything in the reverse order, however it ends.

What QEMU does not need is imported, made and asked for while the guest boots.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from container.errors import ContainerError, ErrorCode, internal, unexpected
from container.model.container import ContainerStatus
from container.model.launch import Launch
from container.plugins.runtime import plan, upper
from container.plugins.runtime.bootlog import KernelLog
from container.plugins.runtime.network import Attached
from container.plugins.runtime.process import ContainerProcess
from container.plugins.runtime.resources import Resources, acquire
from container.plugins.runtime.states import Booting, Running, State, Stopping, ended, now
from container.plugins.runtime.timeline import Timeline
from container.vm.pace import Pace
from container.vm.qemu import VirtualMachine
from container.vm.saved import SavedMachine
from container.vm.watchdog import Stalled, Watchdog

if TYPE_CHECKING:
    from container.guest.client import GuestClient
    from container.guest.streams import Tee
    from container.plugins.runtime.sockets import Forward
    from container.plugins.runtime.storage import Storage

BOOT_LOG, STDIO_LOG = "boot.log", "stdio.log"
# Seconds, each times the accelerator's `speed`.
BOOT_DEADLINE = 12.0
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
        self._restored = self._answered = self._exited = self._powers_off = self._over = False
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
            async with asyncio.timeout(0 if self._aborted else None) as self._scope:
                await self._start_and_follow()
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

    async def _start_and_follow(self) -> None:
        """The run, whose start is made once more, from a boot, when it hangs or cannot be restored."""
        disposable = self._launch.configuration.auto_remove and not upper.exists(self._bundle)
        try:
            await self._attempt(restore=True)
        except ContainerError as error:
            if not self._may_repeat(error):
                raise
            _log.warning("%s: its start is repeated, from a boot: %s", self._launch.configuration.id, error.describe())
            self._timeline.mark("start repeated")
            if disposable:
                upper.discard(self._bundle)  # no journal recovers what the machine had written when it was killed
            self._become(Booting(self._launch, attempt=2))
            await self._attempt(restore=False)

    def _may_repeat(self, error: ContainerError) -> bool:
        begun = self.relaying is not None  # nobody wants the process twice
        return not begun and (isinstance(error, Stalled) or (self._restored and not self._answered))

    async def _attempt(self, *, restore: bool) -> None:
        """One start with everything that it takes, and the run that comes of it."""
        async with contextlib.AsyncExitStack() as stack:
            resources = await acquire(
                stack, self._launch, self._bundle, self._cache, group=self._group, timeline=self._timeline
            )
            spec, self._storage = resources.spec, resources.storage
            saved = stack.enter_context(SavedMachine.of(spec, self._cache) if restore else SavedMachine.none())
            self._restored, self._answered = saved.fd is not None, False
            pace = Pace.of(spec, self._cache)
            try:
                await self._power(resources, saved, pace)
            except ContainerError as error:
                if self._restored and isinstance(error, Stalled):
                    if pace.stalled():
                        saved.drop()
                elif self._restored and not self._answered:
                    saved.discard()
                raise

    async def _power(self, resources: Resources, saved: SavedMachine, pace: Pace) -> None:
        """One machine, from the start of QEMU to its end."""
        spec, storage, boot_log = resources.spec, resources.storage, os.path.join(self._bundle, BOOT_LOG)
        async with (
            VirtualMachine.start(saved.bootable(spec), boot_log=boot_log, state=saved.fd) as vm,
            contextlib.AsyncExitStack() as stack,
        ):
            self._timeline.mark("QEMU started")
            if storage is not None:
                storage.handed_over()
                watching = storage.watch(vm, self.abort, POWER_OFF_DEADLINE * self.speed)
                stack.callback(self._group.create_task(watching).cancel)
            watchdog = Watchdog(vm, pace.usual(restored=self._restored), restored=self._restored)
            stack.callback(watchdog.start(self._group).cancel)
            session = self._session(vm, resources, saved, watchdog, pace)
            try:
                await vm.guard(watchdog.over(session), doing=f"running container {spec.name}")
            except ContainerError as error:
                if not self._exited:
                    raise (storage.failure() if storage else None) or error from error
                _log.warning("%s: the machine ended before it had shut down", spec.name, exc_info=True)
            if self._powers_off:
                await vm.shutdown(grace=POWER_OFF_DEADLINE)

    async def _session(
        self, vm: VirtualMachine, resources: Resources, saved: SavedMachine, watchdog: Watchdog, pace: Pace
    ) -> None:
        """From the boot to the guest's shutdown, all of it while the machine lives."""
        import container.guest.streams  # noqa: F401  # now, while the guest boots, for `process`
        from container.guest.client import GuestClient
        from container.plugins.runtime import pulse, setup, sockets
        from container.plugins.runtime.logs import LogWriter

        async with contextlib.AsyncExitStack() as stack:
            log = LogWriter(os.path.join(self._bundle, STDIO_LOG), call_later=asyncio.get_running_loop().call_later)
            stack.callback(log.close)
            if saved.wanted:
                await saved.save(resources.spec, vm.qmp)
                self._timeline.mark("machine saved")
            client = stack.enter_async_context(GuestClient.connect(vm.agent, timeout=2 * BOOT_DEADLINE * self.speed))
            guest = await vm.guard(client, doing="booting the virtual machine")
            watchdog.heard = lambda: guest.received if guest.owes_an_answer else None
            self._answered = True
            if saved.fd is None:
                self._timeline.mark_boot(guest.info.uptime_ms, guest.info.started_ms)
            self._timeline.mark("agent answered")
            volumes = self._storage.volumes if self._storage else ()
            await setup.set_up(guest, self._launch, resources.attached, volumes, REQUEST_DEADLINE * self.speed)
            self._timeline.mark("guest set up")
            if resources.ports is not None:
                from container.plugins.runtime.ports import published as published_ports

                await stack.enter_async_context(published_ports(resources.ports, resources.attached, self._group))
                self._timeline.mark("ports published")
            self._forwards = sockets.forwards(self._launch)
            if self._forwards or resources.sockets is not None:
                relaying = sockets.relay(guest, resources.sockets, self._forwards, self._group)
                await stack.enter_async_context(relaying)
            if self._storage is not None and self._storage.may_fill:
                watchdog.longest = plan.FIRST_USE_DEADLINE  # a volume that is filled is written back in silence
            running = await self._start_init(guest, resources.attached, log.write)
            watchdog.stop()
            pace.took(vm.processor_time()[0], restored=self._restored)
            stack.callback(self._group.create_task(vm.keep_going()).cancel)
            watching = pulse.watch(guest, vm, self.speed, lambda since: self._become(running.unresponsive(since)))
            stack.callback(self._group.create_task(watching).cancel)
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
