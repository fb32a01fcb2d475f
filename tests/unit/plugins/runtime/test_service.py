import asyncio
import contextlib
import json
import os
import socket
import time
from dataclasses import replace

import pytest
from asyncvarlink import FileDescriptor
from support.fakeguest import install
from support.launches import launch

from container.errors import ContainerError, ErrorCode
from container.guest.process import GuestError
from container.model.container import ContainerState
from container.model.port import PublishPort
from container.model.process import WindowSize
from container.plugins.runtime import pulse, upper
from container.plugins.runtime import service as service_module
from container.plugins.runtime.attachment import Attachment
from container.plugins.runtime.service import RuntimeService
from container.plugins.runtime.stdio import Streams
from container.plugins.runtime.timeline import Timeline
from container.vm import watchdog


class Fixture:
    """A service with a fake machine below it."""

    def __init__(self, tmp_path, monkeypatch, group):
        self.machine, self.guest = install(monkeypatch)
        self.bundle = str(tmp_path)
        self.group = group
        self.service = RuntimeService(
            "box", self.bundle, str(tmp_path / "cache"), group=group, timeline=Timeline(time.monotonic())
        )

    def begin(self, launched=None, streams=None, wait=True):
        """Start in the background; the task's result is its list of events."""
        launched = launched or launch()
        events = self.service.start(launched, streams or Streams(), wait=wait)
        return self.group.create_task(collect(events))

    async def running(self, **options):
        task = self.begin(**options)
        await self.until(ContainerState.RUNNING)
        return task

    async def until(self, state):
        async with contextlib.aclosing(self.service.watch()) as statuses:
            async for status in statuses:
                if status.state is state:
                    return status
        raise AssertionError(f"never {state}")

    @property
    def relay(self):
        return self.service._state.init._relay

    @property
    def init(self):
        return self.guest.processes["box"]

    def status_file(self):
        with open(os.path.join(self.bundle, "status.json")) as file:
            return json.load(file)


async def collect(events):
    return [event async for event in events]


def codes(events):
    return [event.exit_code for event in events if event.exit_code is not None]


class Tasks:
    """A task group across the tasks that pytest-asyncio runs a fixture in."""

    def __init__(self):
        self.tasks = []

    def create_task(self, coroutine):
        self.tasks.append(asyncio.get_running_loop().create_task(coroutine))
        return self.tasks[-1]


@pytest.fixture
async def box(tmp_path, monkeypatch):
    group = Tasks()
    fixture = Fixture(tmp_path, monkeypatch, group)
    yield fixture
    fixture.guest.obeys = (9, 15)
    fixture.guest.booted.set()
    await asyncio.wait_for(fixture.service.stop(9, 0), 5)
    await asyncio.wait(group.tasks or [group.create_task(asyncio.sleep(0))], timeout=5)
    for task in group.tasks:
        assert task.done()
        task.cancelled() or task.exception()


async def test_a_run_reports_progress_started_and_the_exit_code_after_everything_is_gone(box):
    task = await box.running()
    box.init.exit(7)
    events = await task
    assert events[0].progress.description == "Starting container"
    assert (events[1].started, events[1].process) == (True, "box")
    assert events[-1].exit_code == 7
    assert box.machine.log == ["started", "shut down", "gone"]
    assert box.status_file()["exitCode"] == 7
    assert box.status_file()["state"] == "stopped"
    assert "reason" not in box.status_file()
    setting_up = ["set_time", "mount_rootfs", "configure_network", "write_files"]
    assert box.guest.calls == [*setting_up, "start_init", "kernel_log", "shutdown"]


async def test_without_wait_the_stream_ends_when_the_process_has_started(box):
    events = await box.begin(wait=False)
    assert events[-1].started
    assert box.service.status().state is ContainerState.RUNNING


async def test_the_timeline_names_every_step_in_order(box):
    task = await box.running()
    box.init.exit(0)
    await task
    with open(os.path.join(box.bundle, "timeline.json")) as file:
        steps = json.load(file)
    names = [name for name, _ in steps]
    assert names[:2] == ["interpreter started", "start asked"]
    assert {"disks ready", "QEMU started", "agent answered", "process started", "process ended", "cleaned up"} <= set(
        names
    )
    assert [seconds for _, seconds in steps] == sorted(seconds for _, seconds in steps)


async def test_a_second_start_is_refused(box):
    await box.running()
    with pytest.raises(ContainerError) as caught:
        await collect(box.service.start(launch(), Streams(), wait=False))
    assert caught.value.code is ErrorCode.INVALID_STATE


async def test_stop_sends_the_signal_and_returns_when_everything_is_gone(box):
    task = await box.running()
    await box.service.stop(15, 5)
    assert box.machine.log[-1] == "gone"
    assert codes(await task) == [143]
    assert box.init.signals == [15]


async def test_stop_kills_what_ignores_the_signal(box):
    box.guest.obeys = (9,)
    task = await box.running()
    await box.service.stop(15, 0.05)
    assert box.init.signals == [15, 9]
    assert codes(await task) == [137]


async def test_a_second_stop_may_be_quicker(box):
    box.guest.obeys = (9,)
    await box.running()
    first = box.group.create_task(box.service.stop(15, 600))
    status = await box.until(ContainerState.STOPPING)
    assert status.started_date is not None
    await box.service.stop(9, 0)
    await first


async def test_a_caller_of_stop_that_goes_does_not_undo_it(box):
    box.guest.obeys = (9,)
    task = await box.running()
    stopping = box.group.create_task(box.service.stop(15, 0.1))
    await box.until(ContainerState.STOPPING)
    stopping.cancel()
    assert codes(await task) == [137]


async def test_a_guest_that_does_not_end_is_switched_off(box, monkeypatch):
    monkeypatch.setattr(service_module, "KILL_DEADLINE", 0.05)
    box.guest.obeys = ()
    task = await box.running()
    await box.service.stop(15, 0.01)
    assert box.machine.log[-1] == "gone"
    assert codes(await task) == [137]
    assert "switched off" in box.status_file()["reason"]


async def test_stop_while_a_reader_is_slow_after_the_machine_died(box, monkeypatch):
    monkeypatch.setattr(service_module, "FLUSH_DEADLINE", 0.05)
    task = await box.running()
    reading = asyncio.Event()
    box.relay.flushing = reading
    box.init.lose()
    box.machine.died.set_result("QEMU was ended by SIGKILL")
    while box.machine.log[-1] != "gone":
        await asyncio.sleep(0.01)
    stopping = box.group.create_task(box.service.stop(15, 5))
    await asyncio.wait_for(stopping, 2)
    with pytest.raises(ContainerError, match="SIGKILL"):
        await task


async def test_stop_while_the_process_ends_by_itself(box):
    task = await box.running()
    box.init.exit(3)
    await box.service.stop(15, 5)
    assert codes(await task) == [3]
    await box.service.stop(15, 5)


async def test_stop_before_start_ends_the_helper(box):
    await box.service.stop(15, 5)
    assert box.service.status().state is ContainerState.STOPPED


async def test_a_helper_that_is_not_asked_for_anything_ends(box, monkeypatch):
    monkeypatch.setattr(service_module, "START_DEADLINE", 0.01)
    await box.service.wait()
    assert box.service.status().state is ContainerState.STOPPED


async def test_stop_while_booting_switches_the_machine_off(box):
    box.guest.booted.clear()
    task = box.begin()
    while "started" not in box.machine.log:
        await asyncio.sleep(0.01)
    await box.service.stop(15, 100)
    assert box.machine.log == ["started", "gone"]
    assert codes(await task) == [143]
    assert "while it was starting" in box.status_file()["reason"]


async def test_an_interrupt_while_booting_ends_the_run(box):
    box.guest.booted.clear()
    task = box.begin()
    while "started" not in box.machine.log:
        await asyncio.sleep(0.01)
    with pytest.raises(ContainerError):
        await box.service.signal("box", 28)
    await box.service.signal("box", 2)
    assert codes(await task) == [130]


async def test_a_machine_that_dies_gives_its_reason_to_callers_and_status(box):
    task = await box.running()
    box.machine.died.set_result("QEMU was ended by SIGKILL")
    box.init.lose()
    with pytest.raises(ContainerError, match="QEMU was ended by SIGKILL"):
        await task
    assert "QEMU was ended by SIGKILL" in box.status_file()["reason"]
    assert "exitCode" not in box.status_file()


async def test_a_machine_that_dies_while_it_boots_is_told_from_a_helper_that_does(box):
    box.guest.booted.clear()
    task = box.begin()
    while "started" not in box.machine.log:
        await asyncio.sleep(0.01)
    box.machine.died.set_result("QEMU was ended by SIGKILL")
    with pytest.raises(ContainerError, match="QEMU was ended by SIGKILL") as caught:
        await task
    assert caught.value.code is ErrorCode.INTERNAL


async def test_a_step_that_fails_while_booting_is_the_error_and_everything_is_let_go(box):
    box.guest.refuse["write_files"] = ContainerError(ErrorCode.INTERNAL, "no space left")
    events = box.service.start(launch(), Streams(), wait=False)
    with pytest.raises(ContainerError, match="no space left"):
        await collect(events)
    assert box.machine.log == ["started", "gone"]
    assert box.status_file()["reason"] == "no space left"


async def test_a_program_that_is_not_there_is_127_with_its_text_on_standard_error(box):
    read, write = os.pipe()
    box.guest.refuse["start_init"] = GuestError(ErrorCode.NOT_FOUND, "cannot run nope: not found", 2, 127)
    events = await box.begin(streams=Streams(stderr=write))
    assert codes(events) == [127]
    assert not any(event.started for event in events)
    assert os.read(read, 100) == b"Error: cannot run nope: not found\n"
    os.close(read)
    assert box.status_file()["exitCode"] == 127


async def test_a_program_that_is_not_there_is_an_error_for_a_caller_that_does_not_wait(box):
    box.guest.refuse["start_init"] = GuestError(ErrorCode.NOT_FOUND, "cannot run nope: not found", 2, 127)
    with pytest.raises(ContainerError, match="nope"):
        await collect(box.service.start(launch(), Streams(), wait=False))


async def test_a_port_in_use_fails_before_anything_is_started(box):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = PublishPort("127.0.0.1", taken.getsockname()[1], 80)
        base = launch(published_ports=[port])
        networks = [service_module_attachment()]
        launched = replace(base, configuration=replace(base.configuration, networks=networks))
        with pytest.raises(ContainerError, match=str(port.host_port)):
            await collect(box.service.start(launched, Streams(), wait=False))
    assert box.machine.log == []


def service_module_attachment():
    from container.model.network import AttachmentConfiguration, AttachmentOptions

    return AttachmentConfiguration("default", AttachmentOptions("box"))


async def test_exec_reports_and_is_named_by_its_own_id(box):
    await box.running()
    events = box.service.exec(launch().configuration.init_process, Streams(), wait=True)
    await anext(events)
    started = await anext(events)
    await box.service.signal(started.process, 15)
    assert codes([event async for event in events]) == [143]
    with pytest.raises(ContainerError) as caught:
        await box.service.signal(started.process, 15)
    assert caught.value.code is ErrorCode.NOT_FOUND


async def test_exec_needs_a_running_container(box):
    read, write = os.pipe()
    with pytest.raises(ContainerError) as caught:
        await collect(box.service.exec(launch().configuration.init_process, Streams(stdout=write), wait=True))
    assert caught.value.code is ErrorCode.INVALID_STATE
    assert os.read(read, 1) == b""  # its descriptors were closed
    os.close(read)


async def test_a_caller_that_hangs_up_detaches_and_the_process_goes_on(box):
    read, write = os.pipe()
    task = await box.running(streams=Streams(stdout=write))
    task.cancel()
    data = await asyncio.to_thread(os.read, read, 100)
    assert data == b"hello\n"
    assert await asyncio.to_thread(os.read, read, 100) == b""  # let go
    os.close(read)
    assert box.service.status().state is ContainerState.RUNNING
    await box.service.stop(15, 5)
    assert box.status_file()["exitCode"] == 143


async def test_a_caller_that_hangs_up_while_booting_detaches(box):
    box.guest.booted.clear()
    read, write = os.pipe()
    task = box.begin(streams=Streams(stdout=write))
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.sleep(0.05)
    box.guest.booted.set()
    await box.until(ContainerState.RUNNING)
    assert await asyncio.to_thread(os.read, read, 100) in (b"hello\n", b"")
    os.close(read)


async def test_resize_needs_a_terminal(box):
    await box.running()
    with pytest.raises(ContainerError) as caught:
        await box.service.resize("box", WindowSize(80, 24))
    assert caught.value.code is ErrorCode.INVALID_STATE


async def test_output_is_logged(box):
    task = await box.running()
    box.init.exit(0)
    await task
    with open(os.path.join(box.bundle, "stdio.log")) as file:
        assert json.loads(file.read())["log"] == "hello\n"


async def test_watch_ends_after_stopped(box):
    task = await box.running()
    watching = box.group.create_task(collect(box.service.watch()))
    await asyncio.sleep(0.01)
    box.init.exit(0)
    states = [status.state for status in await watching]
    assert states[0] is ContainerState.RUNNING
    assert states[-1] is ContainerState.STOPPED
    await task


async def test_memory_that_ran_out_is_the_reason(box):
    task = await box.running()
    box.init.oom_killed = True
    box.init.exit(137)
    assert codes(await task) == [137]
    assert "memory" in box.status_file()["reason"]


def replies(connection):
    """Every message on an attachment until it ends."""
    data = b""
    with connection:
        connection.settimeout(20)
        while chunk := connection.recv(4096):
            data += chunk
    return [json.loads(message) for message in data.split(b"\0")[:-1]]


READY = {"parameters": {"event": {"ready": True}}, "continues": True}


async def attached(box, ready=True, **streams):
    """A run that a caller is attached to, which has lost its connection to the API server; the caller's end."""
    ours, theirs = socket.socketpair()
    with theirs:
        attachment = Attachment(FileDescriptor(theirs.fileno()))
    if ready:
        ours.send(b"\n")
    events = box.service.start(launch(), Streams(**streams, attachment=attachment), wait=True)
    async with contextlib.aclosing(events):
        async for event in events:
            if event.started:
                break
    return ours


async def test_an_attached_caller_hears_of_the_end_without_the_api_server(box):
    read, write = os.pipe()
    ours = await attached(box, stdout=write)
    box.init.exit(7)
    await box.until(ContainerState.STOPPED)
    ready, started, ended, last = await asyncio.to_thread(replies, ours)
    assert ready == READY
    assert started == {"parameters": {"event": {"started": True, "process": "box"}}, "continues": True}
    assert ended == {"parameters": {"event": {"exitCode": 7}}, "continues": True}
    assert last == {"parameters": {}}
    assert os.read(read, 100) == b"hello\n"


async def test_an_attached_caller_hears_why_the_process_was_ended(box, monkeypatch):
    monkeypatch.setattr(service_module, "KILL_DEADLINE", 0.05)
    box.guest.obeys = ()
    ours = await attached(box)
    await box.service.stop(9, 0)
    ended = (await asyncio.to_thread(replies, ours))[2]["parameters"]["event"]
    assert ended["exitCode"] == 137
    assert "switched off" in ended["reason"]


async def test_closing_the_attachment_detaches(box):
    read, write = os.pipe()
    ours = await attached(box, stdout=write)
    assert await asyncio.to_thread(os.read, read, 100) == b"hello\n"
    ours.close()
    assert await asyncio.to_thread(os.read, read, 100) == b""  # let go
    assert box.service.status().state is ContainerState.RUNNING


async def test_closing_the_attachment_before_the_process_runs_ends_the_start(box):
    box.guest.booted.clear()
    ours, theirs = socket.socketpair()
    with theirs:
        attachment = Attachment(FileDescriptor(theirs.fileno()))
    task = box.begin(streams=Streams(attachment=attachment))
    while "started" not in box.machine.log:
        await asyncio.sleep(0.01)
    ours.close()
    await box.until(ContainerState.STOPPED)
    assert codes(await task) == [129]
    assert box.machine.log == ["started", "gone"]
    assert "its caller went away" in box.status_file()["reason"]


async def test_a_caller_without_an_attachment_may_go_while_it_starts(box):
    box.guest.booted.clear()
    events = box.service.start(launch(), Streams(), wait=False)
    await anext(events)
    await events.aclose()
    box.guest.booted.set()
    await box.until(ContainerState.RUNNING)


@pytest.fixture
def impatient(monkeypatch):
    """Starts hang when they are silent for a moment."""
    for name, seconds in (("SHORTEST", 0.1), ("LONGEST_RESTORED", 0.2), ("LONGEST_BOOTED", 0.2), ("_PAUSE", 0.02)):
        monkeypatch.setattr(watchdog, name, seconds)


async def test_a_start_that_hangs_is_repeated_once_and_the_caller_sees_a_normal_run(box, impatient):
    box.guest.booted.clear()
    task = box.begin()
    assert (await statuses(box, lambda status: status.start_attempt)).start_attempt == 2
    box.guest.booted.set()
    running = await box.until(ContainerState.RUNNING)
    assert running.start_attempt is None
    assert box.machine.log == ["started", "gone", "started"]
    box.init.exit(7)
    events = await task
    assert [bool(event.progress) for event in events] == [True, False, False]
    assert codes(events) == [7]


@pytest.mark.parametrize(
    ("removed", "earlier", "kept"), [(True, False, False), (True, True, True), (False, False, True)]
)
async def test_a_repeated_start_has_a_new_disk_when_the_first_made_one_without_a_journal(
    box, impatient, monkeypatch, removed, earlier, kept
):
    disk = os.path.join(box.bundle, upper.NAME)
    found = []

    def ensure(*_arguments, **_options):
        found.append(os.path.exists(disk))
        with open(disk, "ab"):
            return disk

    monkeypatch.setattr(upper, "ensure", ensure)
    if earlier:
        ensure()
    box.guest.booted.clear()
    task = box.begin(launch(auto_remove=removed))
    await statuses(box, lambda status: status.start_attempt == 2)
    box.guest.booted.set()
    await box.until(ContainerState.RUNNING)
    assert found[-2:] == [earlier, kept]
    box.init.exit(0)
    await task


async def test_a_start_that_hangs_twice_fails_and_says_what_was_seen(box, impatient):
    box.guest.booted.clear()
    task = box.begin()
    with pytest.raises(ContainerError, match="hung while it started: nothing came from its guest"):
        await task
    assert box.machine.log == ["started", "gone"] * 2
    assert "hung" in box.status_file()["reason"]


async def test_a_start_that_fails_otherwise_is_not_repeated(box, impatient):
    box.guest.refuse["mount_rootfs"] = ContainerError(ErrorCode.INTERNAL, "no root")
    with pytest.raises(ContainerError, match="no root"):
        await box.begin()
    assert box.machine.log == ["started", "gone"]


async def statuses(box, wanted):
    async with contextlib.aclosing(box.service.watch()) as seen:
        async for status in seen:
            if wanted(status):
                return status
    raise AssertionError("it never came")


async def test_a_guest_that_stops_to_answer_shows_in_the_status_until_it_answers(box, monkeypatch):
    for name, seconds in (("INTERVAL", 0.05), ("PATIENCE", 0.01), ("_STEP", 0.02)):
        monkeypatch.setattr(pulse, name, seconds)
    task = await box.running()
    box.guest.well.clear()
    marked = await statuses(box, lambda status: status.unresponsive_since)
    assert marked.state is ContainerState.RUNNING
    box.guest.well.set()
    assert (await statuses(box, lambda status: not status.unresponsive_since)).state is ContainerState.RUNNING
    box.init.exit(0)
    await task


async def test_nothing_is_written_before_the_caller_is_ready(box):
    read, write = os.pipe()
    os.set_blocking(read, False)
    ours = await attached(box, ready=False, stdout=write)
    await asyncio.sleep(0.05)
    with pytest.raises(BlockingIOError):
        os.read(read, 100)
    ours.send(b"\n")
    os.set_blocking(read, True)
    assert await asyncio.to_thread(os.read, read, 100) == b"hello\n"
    ours.close()
    os.close(read)


async def test_a_caller_that_dies_before_it_is_ready_holds_nothing_up(box):
    ours = await attached(box, ready=False)
    ours.close()
    box.init.exit(3)
    await box.until(ContainerState.STOPPED)
    assert box.status_file()["exitCode"] == 3


async def test_why_a_program_cannot_run_is_said_when_the_caller_is_ready(box):
    read, write = os.pipe()
    ours, theirs = socket.socketpair()
    with theirs:
        attachment = Attachment(FileDescriptor(theirs.fileno()))
    box.guest.refuse["start_init"] = GuestError(ErrorCode.NOT_FOUND, "cannot run nope: not found", 2, 127)
    task = box.begin(streams=Streams(stderr=write, attachment=attachment))
    os.set_blocking(read, False)
    await asyncio.sleep(0.1)
    with pytest.raises(BlockingIOError):
        os.read(read, 100)
    ours.send(b"\n")
    assert codes(await task) == [127]
    assert os.read(read, 100) == b"Error: cannot run nope: not found\n"
    ours.close()
    os.close(read)
