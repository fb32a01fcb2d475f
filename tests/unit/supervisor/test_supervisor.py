"""The built-in supervisor: its own process, real services."""

import asyncio
import dataclasses
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from container import paths
from container.errors import ContainerError, ErrorCode
from container.ipc import quick
from container.model.job import Job, JobState, JobStatus
from container.paths import Roots
from container.supervisor.builtin import BuiltinSupervisor
from container.supervisor.launch import ensure_running, is_running

from .conftest import HELPER, processes_of, python_job, supervisor_pid, wait_gone

DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('x', flush=True); time.sleep(100)"


def job(roots: Roots, label: str, script: str, *arguments: str, **options: Any) -> Job:
    """A job that runs a Python script; its environment names the run root."""
    program, argv = python_job(script, *arguments)
    environment = {"RUN": roots.run}
    return Job(label, program, argv, environment, log_path=os.path.join(roots.log, f"{label}.log"), **options)


def helper(roots: Roots, label: str = "helper", delay: str = "0", **options: Any) -> Job:
    """A job that serves its socket."""
    return job(roots, label, HELPER, delay, sockets=[roots.socket(label)], **options)


async def ask(roots: Roots, label: str = "helper") -> int:
    """Connect to a helper; its pid, 0 when it hung up."""
    reader, writer = await asyncio.open_unix_connection(roots.socket(label))
    try:
        return int(await reader.read() or 0)
    except ConnectionResetError:
        return 0
    finally:
        writer.close()


async def status(supervisor: BuiltinSupervisor, label: str) -> JobStatus:
    return next(item for item in await supervisor.list() if item.job.label == label)


async def until(supervisor: BuiltinSupervisor, label: str, holds: Callable[[JobStatus], bool]) -> JobStatus:
    """Look at a job until something holds of it."""
    async with asyncio.timeout(10):
        while not holds(found := await status(supervisor, label)):
            await asyncio.sleep(0.02)
        return found


async def test_a_service_starts_with_its_first_client_and_gets_its_socket(supervisor: Roots) -> None:
    backend = BuiltinSupervisor(supervisor)
    await backend.register(helper(supervisor))
    assert os.stat(supervisor.socket("helper")).st_mode & 0o777 == 0o600
    before = await status(backend, "helper")
    assert (before.state, before.pid, before.starts) == (JobState.WAITING, None, 0)
    pid = await ask(supervisor)
    after = await status(backend, "helper")
    assert (after.state, after.pid, after.starts) == (JobState.RUNNING, pid, 1)


async def test_twenty_clients_at_once_start_one_process(supervisor: Roots) -> None:
    backend = BuiltinSupervisor(supervisor)
    await backend.register(helper(supervisor, delay="0.3"))
    assert len(set(await asyncio.gather(*(ask(supervisor) for _ in range(20))))) == 1


async def test_a_client_waits_through_the_restart_of_a_killed_service(supervisor: Roots) -> None:
    backend = BuiltinSupervisor(supervisor)
    await backend.register(helper(supervisor, keep_alive=True, run_at_load=True))
    first = await ask(supervisor)
    os.kill(first, signal.SIGKILL)
    wait_gone(first)  # a dying process may accept a client yet, who is then hung up on
    begin = time.monotonic()
    second = await ask(supervisor)
    assert second not in (0, first)
    assert time.monotonic() - begin < 5
    found = await status(backend, "helper")
    assert (found.starts, found.exit_status) == (2, -signal.SIGKILL)
    assert found.reason is not None
    assert "was killed by SIGKILL" in found.reason


async def test_a_record_that_cannot_be_written_ends_nothing(supervisor: Roots) -> None:
    backend = BuiltinSupervisor(supervisor)
    os.mkdir(os.path.join(supervisor.run, "supervisor.services.new"))
    for label in ("first", "second"):
        await backend.register(helper(supervisor, label))
    first = await ask(supervisor, "first")
    assert first != await ask(supervisor, "second") != 0
    await backend.deregister("second")
    assert await ask(supervisor, "first") == first


async def test_a_crashing_service_is_restarted_ever_more_slowly(supervisor: Roots) -> None:
    backend = BuiltinSupervisor(supervisor)
    crash = job(supervisor, "crash", "import sys; sys.exit(3)", keep_alive=True, run_at_load=True, throttle=0.2)
    await backend.register(crash)
    await asyncio.sleep(2.5)  # starts at 0, 0.2, 0.6, 1.4, 3.0
    found = await status(backend, "crash")
    assert found.state is JobState.BACKING_OFF
    assert 3 <= found.starts <= 4
    assert found.exit_status == 3
    assert found.reason is not None
    assert "ended with exit status 3" in found.reason
    assert f"{found.starts} times in a row" in found.reason


async def test_a_missing_program_is_a_reason_and_no_busy_loop(supervisor: Roots) -> None:
    backend = BuiltinSupervisor(supervisor)
    socket = supervisor.socket("missing")
    await backend.register(Job("missing", "/nowhere/program", [], keep_alive=True, run_at_load=True, sockets=[socket]))
    found = await until(backend, "missing", lambda item: item.state is JobState.BACKING_OFF)
    assert found.reason == "failed to start /nowhere/program: No such file or directory"
    assert found.starts == 0
    assert Path(supervisor.log, "io.container.supervisor.log").read_text().count("cannot start a job") == 1


async def test_a_client_of_a_hopeless_service_is_hung_up_on(supervisor: Roots) -> None:
    backend = BuiltinSupervisor(supervisor)
    await backend.register(Job("missing", "/nowhere/program", [], sockets=[supervisor.socket("missing")]))
    async with asyncio.timeout(5):
        assert await ask(supervisor, "missing") == 0
    crash = job(supervisor, "crash", "raise SystemExit(1)", sockets=[supervisor.socket("crash")], throttle=0.05)
    await backend.register(crash)
    async with asyncio.timeout(5):
        assert await ask(supervisor, "crash") == 0
    assert 3 <= (await status(backend, "crash")).starts <= 4


async def test_a_service_that_ended_well_starts_again_with_the_next_client_only(supervisor: Roots) -> None:
    backend = BuiltinSupervisor(supervisor)
    once = HELPER.replace("while True:", "for _ in range(1):")
    await backend.register(job(supervisor, "once", once, "0", sockets=[supervisor.socket("once")], throttle=0.1))
    first = await ask(supervisor, "once")
    found = await until(backend, "once", lambda item: item.state is JobState.WAITING)
    assert (found.exit_status, found.reason, found.starts) == (0, None, 1)
    assert await ask(supervisor, "once") not in (0, first)


async def test_stop_sends_term_then_kills_the_whole_group(supervisor: Roots) -> None:
    backend = BuiltinSupervisor(supervisor)
    stubborn = (
        "import os, signal, time; signal.signal(signal.SIGTERM, lambda *_: print('heard', flush=True))\n"
        "child = os.fork()\n"
        "print(os.getpid(), child, flush=True)\n"
        "while True: time.sleep(100)"
    )
    await backend.register(job(supervisor, "stubborn", stubborn, run_at_load=True, stop_timeout=0.3))
    log = Path(supervisor.log, "stubborn.log")
    async with asyncio.timeout(10):
        while not log.exists() or len(log.read_text().split()) < 4:
            await asyncio.sleep(0.02)
    pids = {int(word) for word in log.read_text().split()}
    begin = time.monotonic()
    await backend.stop("stubborn")
    assert 0.3 <= time.monotonic() - begin < 3
    for pid in pids - {0}:
        wait_gone(pid)
    assert log.read_text().count("heard") == 1
    found = await status(backend, "stubborn")
    assert (found.state, found.exit_status, found.reason) == (JobState.STOPPED, -signal.SIGKILL, None)


async def test_a_killed_service_leaves_no_process_of_its_group(supervisor: Roots) -> None:
    backend = BuiltinSupervisor(supervisor)
    script = "import os, time; child = os.fork(); print(child, flush=True) if child else 0; time.sleep(100)"
    await backend.register(job(supervisor, "parent", script, run_at_load=True))
    log = Path(supervisor.log, "parent.log")
    async with asyncio.timeout(10):
        while not log.exists() or not log.read_text():
            await asyncio.sleep(0.02)
    pid = (await status(backend, "parent")).pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_gone(int(log.read_text()))


async def test_a_stopped_service_comes_back_when_asked_or_connected_to(supervisor: Roots) -> None:
    backend = BuiltinSupervisor(supervisor)
    await backend.register(helper(supervisor, keep_alive=True, run_at_load=True))
    first = await ask(supervisor)
    await backend.stop("helper")
    await asyncio.sleep(0.2)
    assert (await status(backend, "helper")).state is JobState.WAITING
    second = await ask(supervisor)
    assert second not in (0, first)
    await backend.stop("helper")
    await backend.start("helper")
    assert await ask(supervisor) not in (0, second)


async def test_register_is_idempotent_and_deregister_forgets(supervisor: Roots) -> None:
    backend = BuiltinSupervisor(supervisor)
    await backend.register(helper(supervisor))
    pid = await ask(supervisor)
    await backend.register(helper(supervisor))
    assert (await status(backend, "helper")).pid == pid
    with pytest.raises(ContainerError, match="already registered") as caught:
        await backend.register(helper(supervisor, delay="1"))
    assert caught.value.code is ErrorCode.EXISTS
    await backend.deregister("helper")
    wait_gone(pid)
    assert await backend.list() == []
    assert "helper" not in os.listdir(supervisor.run)
    for call in (backend.deregister, backend.start, backend.stop):
        with pytest.raises(ContainerError) as caught:
            await call("helper")
        assert caught.value.code is ErrorCode.NOT_FOUND


@pytest.mark.parametrize(
    "change", [{"label": ""}, {"label": "a/b"}, {"program": "sh"}, {"sockets": ["x"]}, {"throttle": 0}]
)
async def test_an_invalid_job_is_refused(supervisor: Roots, change: dict[str, Any]) -> None:
    backend = BuiltinSupervisor(supervisor)
    with pytest.raises(ContainerError) as caught:
        await backend.register(dataclasses.replace(Job("label", "/bin/true", []), **change))
    assert caught.value.code is ErrorCode.INVALID_ARGUMENT
    assert await backend.list() == []


async def test_a_caller_that_goes_away_does_not_keep_a_service_from_stopping(supervisor: Roots) -> None:
    backend = BuiltinSupervisor(supervisor)
    await backend.register(job(supervisor, "slow", DEAF, run_at_load=True, stop_timeout=0.5))
    await asyncio.sleep(0.2)
    socket = supervisor.socket(paths.SUPERVISOR)
    with pytest.raises(ContainerError, match="timed out"):
        await asyncio.to_thread(quick.call, socket, "io.container.Supervisor.Deregister", {"label": "slow"}, (), 0.1)
    async with asyncio.timeout(10):
        while await backend.list():
            await asyncio.sleep(0.05)


async def test_exit_stops_the_api_server_first_then_all_and_leaves_nothing(supervisor: Roots) -> None:
    backend = BuiltinSupervisor(supervisor)
    order = Path(supervisor.run, "order")
    script = (
        "import os, signal, sys, time\n"
        "def end(*_):\n"
        f" open({str(order)!r}, 'a').write(sys.argv[1] + chr(10)); os._exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "if os.fork() == 0: os.setsid()\n"  # an orphan in a session of its own
        "print('up', flush=True); time.sleep(100)"
    )
    for label in ("a.first", paths.APISERVER, "z.last"):
        await backend.register(job(supervisor, label, script, label, run_at_load=True))
    logs = [Path(supervisor.log, f"{label}.log") for label in ("a.first", paths.APISERVER, "z.last")]
    async with asyncio.timeout(10):
        while any(not log.exists() or log.read_text().count("up") < 2 for log in logs):
            await asyncio.sleep(0.02)
    pid = supervisor_pid(supervisor)
    await backend.exit()
    wait_gone(pid)
    assert order.read_text().splitlines()[0] == paths.APISERVER
    assert set(order.read_text().splitlines()) == {"a.first", paths.APISERVER, "z.last"}
    assert processes_of(supervisor) == []
    assert sorted(os.listdir(supervisor.run)) == ["launch.lock", "order", "supervisor.lock"]


async def test_term_ends_the_supervisor_like_exit(supervisor: Roots) -> None:
    await BuiltinSupervisor(supervisor).register(helper(supervisor, run_at_load=True))
    helper_pid, pid = await ask(supervisor), supervisor_pid(supervisor)
    os.kill(pid, signal.SIGTERM)
    wait_gone(pid)
    wait_gone(helper_pid)
    assert not is_running(supervisor)


async def test_a_killed_supervisor_takes_its_services_with_it_and_a_new_one_starts_clean(supervisor: Roots) -> None:
    backend = BuiltinSupervisor(supervisor)
    await backend.register(helper(supervisor, run_at_load=True))
    await backend.register(job(supervisor, "deaf", DEAF, run_at_load=True))
    heeding = await ask(supervisor)
    deaf_pid = (await until(backend, "deaf", lambda item: item.pid is not None)).pid
    assert deaf_pid is not None
    await asyncio.sleep(0.3)
    os.kill(supervisor_pid(supervisor), signal.SIGKILL)
    wait_gone(heeding)
    assert not is_running(supervisor)
    await asyncio.to_thread(ensure_running, supervisor)
    wait_gone(deaf_pid)
    assert await backend.list() == []
    assert [path.name for path in Path(supervisor.run).iterdir() if path.is_socket()] == [paths.SUPERVISOR]
    await backend.register(helper(supervisor))
    assert await ask(supervisor) not in (0, heeding)


async def test_the_supervisor_outlives_its_clients_and_keeps_their_jobs(supervisor: Roots) -> None:
    socket = supervisor.socket(paths.SUPERVISOR)
    script = (
        "import sys; from container.ipc.quick import call\n"
        "call(sys.argv[1], 'io.container.Supervisor.Register',"
        " {'job': {'label': 'x', 'program': '/bin/sleep', 'arguments': ['50'], 'runAtLoad': True}})"
    )
    registrar = await asyncio.create_subprocess_exec(sys.executable, "-c", script, socket)
    assert await registrar.wait() == 0
    assert (await status(BuiltinSupervisor(supervisor), "x")).state is JobState.RUNNING
