"""What may be done to a container when, and that nothing is left half done."""

import asyncio
import contextlib
import os
import threading
from collections.abc import Awaitable
from contextlib import aclosing
from pathlib import Path

import pytest
from asyncvarlink import FileDescriptor
from unit.apiserver.containers.house import House

from container.apiserver.containers import prune
from container.apiserver.containers.records import ContainerRecord, ContainerRecords
from container.apiserver.containers.starts import Starts
from container.apiserver.containers.streams import Streams
from container.errors import ContainerError, ErrorCode, internal
from container.model.container import ContainerState, ContainerStatus
from container.model.event import ProcessEvent
from container.model.mount import Mount
from container.model.network import AttachmentConfiguration, AttachmentOptions
from container.model.process import ProcessRequest

RUNNING, STOPPED = ContainerState.RUNNING, ContainerState.STOPPED


async def test_create_writes_a_record_that_survives_a_restart(house: House) -> None:
    id = await house.create()
    before = await house.service.get(id)
    await house.restart()
    assert await house.service.get(id) == before
    assert before.status.state is STOPPED
    assert before.configuration.resources.cpus == 4
    assert before.configuration.networks == [AttachmentConfiguration("default", AttachmentOptions("web", mtu=1280))]


async def test_create_without_a_name_gives_a_uuid(house: House) -> None:
    events = [event async for event in house.service.create(_request())]
    assert events[0].progress is not None
    assert events[-1].id is not None
    assert len(events[-1].id) == 36
    assert events[-1].id == events[-1].id.lower()


def _request() -> object:
    from container.model.container import ContainerRequest

    return ContainerRequest("busybox", ProcessRequest())


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        ({"id": "x"}, "invalidArgument", "container ID x is not a valid container ID"),
        ({"id": "x" * 64}, "invalidArgument", f"container ID {'x' * 64} is not a valid container ID"),
        ({"image": "nope"}, "notFound", "image with reference nope"),
        ({"memory_in_bytes": 1000}, "invalidArgument", "minimum memory amount allowed is 200 MiB (got 1000 bytes)"),
        (
            {"memory_in_bytes": 1 << 50},
            "invalidArgument",
            "cannot give a container 1073741824 MiB of memory: this host has",
        ),
        ({"networks": [AttachmentConfiguration("net", AttachmentOptions("x"))]}, "notFound", "network net not found"),
        ({"runtime": "runc"}, "notFound", "unable to locate runtime plugin runc"),
        ({"kernel": "/missing"}, "notFound", "kernel file not found at path /missing"),
        ({"mounts": [Mount("block", "data", "/data")]}, "unsupported", None),
        ({"mounts": [Mount("volume", "a", "/a", ["uid=5"])]}, "unsupported", None),
        ({"mounts": [Mount("virtiofs", "/a", "/a", ["uid=4294967295"])]}, "invalidArgument", None),
        ({"mounts": [Mount("virtiofs", "/a", "/a", ["fast"])]}, "invalidArgument", "unknown mount option 'fast' of /a"),
        ({"mounts": [Mount("virtiofs", "/a", "a")]}, "invalidArgument", None),
    ],
)
async def test_a_creation_that_fails_leaves_nothing(
    house: House, options: dict[str, object], code: str, text: str | None
) -> None:
    with pytest.raises(ContainerError) as caught:
        await house.create(**{"id": "web"} | options)  # type: ignore[arg-type]
    assert caught.value.code.value == code
    assert text is None or text in caught.value.message
    assert house.bundles() == []
    assert await house.service.list(True) == []


async def test_a_command_that_nobody_gives_is_refused(house: House) -> None:
    house.images.config = {}
    with pytest.raises(ContainerError, match="command/entrypoint not specified for container process"):
        await house.create()
    assert house.bundles() == []


async def test_a_taken_name_is_refused_also_while_it_is_being_made(house: House) -> None:
    house.images.gate.clear()
    making = asyncio.ensure_future(house.create())
    await asyncio.sleep(0.01)
    with pytest.raises(ContainerError, match="container already exists: web"):
        await house.create()
    house.images.gate.set()
    await making
    with pytest.raises(ContainerError) as caught:
        await house.create()
    assert caught.value.code is ErrorCode.EXISTS


async def test_a_caller_of_create_that_hangs_up_leaves_nothing(house: House) -> None:
    house.images.gate.clear()
    making = asyncio.ensure_future(house.create())
    await asyncio.sleep(0.01)
    making.cancel()
    await asyncio.wait([making])
    assert house.images.cancelled
    assert house.bundles() == []
    house.images.gate.set()
    await house.create()


async def test_a_caller_that_hangs_up_while_the_record_is_written_leaves_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def create(records: ContainerRecords, record: ContainerRecord) -> None:
        writing.set()
        assert hung_up.wait(60)
        write(records, record)
        written.set()

    writing, hung_up, written = threading.Event(), threading.Event(), threading.Event()
    write = ContainerRecords.create
    monkeypatch.setattr(ContainerRecords, "create", create)
    making = asyncio.ensure_future(house.create())
    assert await asyncio.to_thread(writing.wait, 60)
    making.cancel()
    await asyncio.wait([making])
    hung_up.set()
    assert await asyncio.to_thread(written.wait, 60)
    async with asyncio.timeout(60):
        while True:  # the name is taken until the record has gone
            with contextlib.suppress(ContainerError):
                await house.create()
                break
            await asyncio.sleep(0.001)
    assert house.bundles() == ["web"]


async def test_start_runs_and_the_exit_is_recorded(house: House) -> None:
    await house.create()
    events = await house.start()
    assert events[0].progress is not None
    assert (events[-1].started, events[-1].process) == (True, "web")
    snapshot = await house.service.get("web")
    assert snapshot.status.state is RUNNING
    assert snapshot.status.networks[0].ipv4_address == "192.168.64.2/24"
    house.helpers["web"].exit(3)
    await _until(house, STOPPED)
    status = (await house.service.get("web")).status
    assert (status.exit_code, status.started_date, status.networks) == (3, "then", [])
    await house.service.delete("web", False)
    assert not house.helpers["web"].registered
    assert house.bundles() == []


async def test_a_caller_that_shows_notices_is_told_what_is_due_and_why_it_waits(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("container.apiserver.containers.lifecycle.PATIENCE", 0.05)
    for notices in (True, False):
        await house.create(str(notices))
        helper = house.helpers[str(notices)]
        helper.boot.clear()
        asyncio.get_running_loop().call_later(0.3, helper.boot.set)
        events = [each async for each in house.service.start(str(notices), Streams(), False, notices=notices)]
        assert [each.notice for each in events if each.notice] == ["a notice"] * notices
        notes = {each.progress.note for each in events if each.progress is not None}
        assert notes == ({None, "a reason"} if notices else {None})


async def test_prune_removes_the_stopped_containers_but_machines(house: House) -> None:
    for id, labels in (("up", {}), ("down", {}), ("vm", {"com.apple.container.plugin": "machine"})):
        await house.create(id, labels=labels)
    await house.start("up")
    Path(house.roots.bundle("down"), "stdio.log").write_bytes(b"x" * 10_000)
    result = await prune.of(house.service, house.roots)()
    assert (result.deleted, result.failed, house.bundles()) == (["down"], {}, ["up", "vm"])
    assert result.reclaimed >= 10_000


async def _until(house: House, state: ContainerState, id: str = "web") -> None:
    async with asyncio.timeout(5):
        while await house.state(id) is not state:
            await asyncio.sleep(0.001)


async def test_an_attached_start_gives_the_exit_code_when_the_container_is_stopped(house: House) -> None:
    await house.create()
    running = asyncio.ensure_future(house.run_attached())
    await _until(house, RUNNING)
    house.helpers["web"].exit(7)
    assert await running == 7
    assert await house.state() is STOPPED


async def test_the_reason_of_an_end_goes_with_the_exit_code(house: House) -> None:
    await house.create()
    last: ProcessEvent | None = None
    async with aclosing(house.service.start("web", Streams(), True)) as events:
        async for last in events:
            if last.started:
                house.helpers["web"].exit(137, "the share failed")
    assert last == ProcessEvent(exit_code=137, reason="the share failed")


async def test_an_attached_run_that_is_removed_is_gone_when_the_exit_code_comes(house: House) -> None:
    await house.create(auto_remove=True)
    running = asyncio.ensure_future(house.run_attached())
    await _until(house, RUNNING)
    house.helpers["web"].exit(0)
    assert await running == 0
    assert house.bundles() == []
    await house.create()


async def test_a_removal_that_fails_in_any_way_is_told(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: object, id: str, runtime: str) -> None:
        raise PermissionError(1, "Operation not permitted", id)

    await house.create(auto_remove=True)
    running = asyncio.ensure_future(house.run_attached())
    await _until(house, RUNNING)
    with monkeypatch.context() as broken:
        broken.setattr(ContainerRecords, "delete", fail)
        house.helpers["web"].exit(0)
        with pytest.raises(PermissionError):
            await asyncio.wait_for(running, 60)
    assert await house.state() is STOPPED
    await house.service.delete("web", force=False)
    assert house.bundles() == []


async def test_a_second_start_attaches_to_nothing(house: House) -> None:
    await house.create()
    await house.start()
    assert [event.started for event in await house.start()] == [True]
    with pytest.raises(ContainerError, match="attach is currently unsupported on already running containers"):
        await house.run_attached()
    assert house.helpers["web"].runs == 1


async def test_two_starts_at_once_make_one_run(house: House) -> None:
    await house.create()
    await asyncio.gather(house.start(), house.start(), house.start())
    assert house.helpers["web"].runs == 1
    assert await house.state() is RUNNING


async def test_a_start_right_after_the_end_waits_for_the_cleanup(house: House) -> None:
    await house.create()
    for code in range(5):
        running = asyncio.ensure_future(house.run_attached())
        await _until(house, RUNNING)
        house.helpers["web"].exit(code)
        assert await running == code
    assert house.helpers["web"].runs == 5


async def test_a_boot_that_fails_says_why_and_leaves_it_stopped(house: House) -> None:
    await house.create()
    house.helpers["web"].boot_error = internal("the kernel does not boot")
    with pytest.raises(ContainerError) as caught:
        await house.start()
    assert caught.value.message == "failed to bootstrap container web"
    assert caught.value.cause is not None
    assert caught.value.cause.message == "the kernel does not boot"
    assert not house.helpers["web"].registered
    status = (await house.service.get("web")).status
    assert status.state is STOPPED
    assert "the kernel does not boot" in (status.reason or "")
    house.helpers["web"].boot_error = None
    await house.start()


@pytest.mark.parametrize("auto_remove", [False, True])
async def test_a_program_that_cannot_be_executed_has_an_exit_code(house: House, auto_remove: bool) -> None:
    await house.create(auto_remove=auto_remove)
    house.helpers["web"].refused = 127
    assert await house.run_attached() == 127
    if not auto_remove:
        status = (await house.service.get("web")).status
        assert (status.state, status.exit_code, status.reason) == (STOPPED, 127, "no such program")
        await house.service.delete("web", False)
    assert house.bundles() == []


async def test_a_removed_run_that_does_not_boot_leaves_nothing(house: House) -> None:
    await house.create(auto_remove=True)
    house.helpers["web"].boot_error = internal("no")
    with pytest.raises(ContainerError):
        await house.start()
    assert house.bundles() == []


async def test_a_helper_that_dies_stops_the_container_with_a_reason(house: House) -> None:
    await house.create()
    await house.start()
    house.helpers["web"].crash()
    await _until(house, STOPPED)
    status = (await house.service.get("web")).status
    assert status.exit_code is None
    assert (status.reason or "").startswith("the runtime helper ended unexpectedly")
    await house.service.stop("web", None, 1)
    assert not house.helpers["web"].registered


async def test_a_helper_that_dies_while_attached_is_an_error_for_the_caller(house: House) -> None:
    await house.create()
    running = asyncio.ensure_future(house.run_attached())
    await _until(house, RUNNING)
    house.helpers["web"].crash()
    with pytest.raises(ContainerError, match="the runtime helper ended unexpectedly") as caught:
        await running
    assert caught.value.code is ErrorCode.INTERNAL


async def test_a_helper_that_dies_while_booting_is_a_boot_failure(house: House) -> None:
    await house.create()
    house.helpers["web"].boot.clear()
    starting = asyncio.ensure_future(house.start())
    await asyncio.sleep(0.01)
    house.helpers["web"].crash()
    with pytest.raises(ContainerError) as caught:
        await starting
    assert caught.value.describe().startswith(
        "failed to bootstrap container web: the runtime helper ended unexpectedly"
    )


async def test_what_a_dead_helper_wrote_down_counts(house: House) -> None:
    await house.create()
    await house.start()
    with open(os.path.join(house.roots.bundle("web"), "status.json"), "w") as file:
        file.write('{"state": "stopped", "networks": [], "exitCode": 9, "reason": "out of memory"}')
    house.helpers["web"].crash()
    await _until(house, STOPPED)
    status = (await house.service.get("web")).status
    assert (status.exit_code, status.reason) == (9, "out of memory")
    await house.start()
    assert not os.path.exists(os.path.join(house.roots.bundle("web"), "status.json"))


async def test_a_caller_of_start_that_hangs_up_detaches(house: House) -> None:
    await house.create()
    running = asyncio.ensure_future(house.run_attached())
    await _until(house, RUNNING)
    await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.wait([running])
    await asyncio.sleep(0.01)
    assert house.helpers["web"].detached
    assert await house.state() is RUNNING
    house.helpers["web"].exit(4)
    await _until(house, STOPPED)
    assert (await house.service.get("web")).status.exit_code == 4


async def test_a_caller_that_hangs_up_during_the_boot_does_not_stop_it(house: House) -> None:
    await house.create()
    house.helpers["web"].boot.clear()
    running = asyncio.ensure_future(house.run_attached())
    await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.wait([running])
    house.helpers["web"].boot.set()
    await _until(house, RUNNING)
    await asyncio.sleep(0.01)
    assert house.helpers["web"].detached


async def test_streams_of_the_caller_are_let_go_once_the_helper_has_them(house: House) -> None:
    await house.create()
    reading, writing = os.pipe()
    house.helpers["web"].boot.clear()
    with open(reading, "rb") as output:
        with FileDescriptor(writing) as passed:
            events = house.service.start("web", Streams(stdout=passed), True)
            await anext(events)
        await asyncio.sleep(0.01)
        assert await asyncio.to_thread(output.read) == b""
    await events.aclose()


async def test_stop_sends_the_image_stop_signal(house: House) -> None:
    house.images.config = {"Cmd": ["sh"], "StopSignal": "SIGQUIT"}
    await house.create()
    await house.start()
    await house.service.stop("web", None, 5)
    assert house.helpers["web"].stops == [(3, 5)]
    assert await house.state() is STOPPED
    assert not house.helpers["web"].registered
    await house.service.stop("web", None, 5)
    assert len(house.helpers["web"].stops) == 1


async def test_stop_by_force_when_the_helper_hangs(house: House) -> None:
    await house.create()
    await house.start()
    house.helpers["web"].hangs = True
    await house.service.stop("web", "INT", 2)
    status = (await house.service.get("web")).status
    assert status.state is STOPPED
    assert "did not stop it" in (status.reason or "")


async def test_stop_ends_a_boot(house: House) -> None:
    await house.create()
    house.helpers["web"].boot.clear()
    starting = asyncio.ensure_future(house.start())
    await asyncio.sleep(0.01)
    await house.service.stop("web", None, 5)
    with pytest.raises(ContainerError, match="it was stopped while it was starting"):
        await starting
    assert not house.helpers["web"].registered
    assert await house.state() is STOPPED


async def test_kill(house: House) -> None:
    await house.create()
    with pytest.raises(ContainerError, match="no runtime client exists: container is stopped") as caught:
        await house.service.kill("web", "KILL")
    assert caught.value.code is ErrorCode.INVALID_STATE
    await house.start()
    await house.service.kill("web", "usr1")
    assert house.helpers["web"].signals == [("web", 10)]
    with pytest.raises(ContainerError, match="invalid signal: NOPE"):
        await house.service.kill("web", "NOPE")
    await house.service.kill("web", "KILL")
    assert (await house.service.get("web")).status.exit_code == 137


async def test_delete(house: House) -> None:
    with pytest.raises(ContainerError, match="container with ID web not found"):
        await house.service.delete("web", True)
    await house.create()
    await house.start()
    with pytest.raises(ContainerError, match="container web is running and can not be deleted"):
        await house.service.delete("web", False)
    await house.service.delete("web", True)
    assert house.bundles() == []
    assert not house.helpers["web"].registered


async def test_delete_by_force_ends_a_boot(house: House) -> None:
    await house.create()
    house.helpers["web"].boot.clear()
    starting = asyncio.ensure_future(house.start())
    await asyncio.sleep(0.01)
    await house.service.delete("web", True)
    with pytest.raises(ContainerError):
        await starting
    assert house.bundles() == []


@pytest.mark.parametrize("auto_remove", [False, True])
async def test_start_stop_and_delete_at_once_leave_nothing(house: House, auto_remove: bool) -> None:
    async def quietly(work: Awaitable[object]) -> None:
        try:
            await work
        except ContainerError as error:
            if error.code not in (ErrorCode.NOT_FOUND, ErrorCode.INVALID_STATE):
                raise

    for order in range(6):
        await house.create(auto_remove=auto_remove)
        work = [
            quietly(house.start()),
            quietly(house.service.stop("web", None, 1)),
            quietly(house.service.delete("web", True)),
            quietly(house.run_attached()),
            quietly(house.service.delete("web", False)),
            quietly(house.service.kill("web", "KILL")),
        ]
        async with asyncio.timeout(10):
            await asyncio.gather(*work[order:], *work[:order])
            await quietly(house.service.delete("web", True))
        assert house.bundles() == []
        assert not house.helpers["web"].registered


async def test_a_delete_whose_caller_hangs_up_is_finished(house: House) -> None:
    await house.create()
    deleting = asyncio.ensure_future(house.service.delete("web", False))
    await asyncio.sleep(0)
    deleting.cancel()
    await asyncio.wait([deleting])
    with pytest.raises(ContainerError, match="not found"):
        await house.service.get("web")
    assert house.bundles() == []


async def test_exec_takes_what_the_init_process_has(house: House) -> None:
    await house.create()
    with pytest.raises(ContainerError, match="container web is not running"):
        await _exec(house, "ls")
    with pytest.raises(ContainerError, match="get failed: container nobody not found"):
        await anext(house.service.exec("nobody", ProcessRequest(arguments=["ls"]), Streams(), True))
    await house.start()
    assert await _exec(house, "ls", "-l", "/") == 2
    with pytest.raises(
        ContainerError, match="the machine of container web went away: the connection to the guest"
    ) as gone:
        await _exec(house, "busybox", "reboot")
    assert gone.value.code is ErrorCode.INTERNAL
    house.helpers["web"].crashed = True
    with pytest.raises(ContainerError, match="the runtime helper of container web went away") as caught:
        await _exec(house, "ls")
    assert caught.value.code is ErrorCode.INTERNAL


async def _exec(house: House, *arguments: str) -> int | None:
    code = None
    async with aclosing(house.service.exec("web", ProcessRequest(list(arguments)), Streams(), True)) as events:
        async for event in events:
            code = event.exit_code
    return code


async def test_list_is_sorted_and_leaves_out_stopped_ones(house: House) -> None:
    for id in ("zz", "aa", "mm"):
        await house.create(id)
    await house.start("mm")
    assert [snapshot.id for snapshot in await house.service.list(True)] == ["aa", "mm", "zz"]
    assert [snapshot.id for snapshot in await house.service.list(False)] == ["mm"]


async def test_logs_of_an_unknown_container(house: House) -> None:
    with pytest.raises(ContainerError, match="failed to open container logs: container with ID x not found"):
        await house.service.logs("x")


async def test_a_volume_is_one_running_containers_at_a_time(house: House) -> None:
    for id in ("one", "two"):
        await house.create(id, mounts=[Mount("volume", "data", "/data")])
    await house.start("one")
    with pytest.raises(ContainerError, match="volume 'data' is currently in use by container one"):
        await house.start("two")
    await house.service.stop("one", None, 5)
    await house.start("two")
    assert await house.service.with_volume("data") == ["one", "two"]


async def test_a_volume_without_a_name_gets_one_of_its_own(house: House) -> None:
    await house.create(mounts=[Mount("volume", "", "/a"), Mount("volume", "", "/b")])
    names = {mount.detail["name"] for mount in (await house.service.get("web")).configuration.mounts}
    assert len(names) == 2
    for name in names:
        assert await house.service.with_volume(name) == ["web"]


async def test_starts_are_counted_and_those_that_were_repeated(house: House) -> None:
    id = await house.create()
    helper = house.helpers[id]
    helper.boot.clear()
    starting = asyncio.create_task(house.start(id))
    while not helper.runs:
        await asyncio.sleep(0.01)
    for _ in range(2):  # told twice, counted once
        helper.become(ContainerStatus(ContainerState.UNKNOWN, start_attempt=2))
        await asyncio.sleep(0.05)
    helper.boot.set()
    await starting
    assert house.starts == Starts(total=1, repeated=1)
