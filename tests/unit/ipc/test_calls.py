"""Calls between a real server and its two clients."""

import asyncio
import os
import time
from collections.abc import Coroutine
from typing import Any

import pytest
from asyncvarlink import FileDescriptor

from container.errors import ContainerError, ErrorCode
from container.ipc import quick
from container.ipc.client import Client
from container.model.network import Attachment
from container.model.process import WindowSize
from container.paths import Roots

from .conftest import SERVICE, Probe, ProbeHandler, filled_pipe, no_descriptor_left, serving

NAME = "io.container.test.Probe"


async def in_thread(*arguments: Any, **options: Any) -> dict[str, Any]:
    return await asyncio.to_thread(quick.call, *arguments, **options)


async def test_models_travel_in_contract_json_and_come_back_as_models(roots: Roots) -> None:
    async with serving(roots, ProbeHandler()) as (_, path):
        named = {"a": Attachment("default", "h", "10.0.0.2/24", "10.0.0.1")}
        sizes = await Client(path).call(Probe.Models, sizes=[WindowSize(80, 24)], named=named)
        assert sizes == [WindowSize(80, 24), WindowSize(1, 0)]
        wire = await in_thread(path, f"{NAME}.Models", {"sizes": [], "named": {}})
        assert wire == {"sizes": [{"columns": 0, "rows": 0}]}


async def test_missing_optional_parameters_are_none(roots: Roots) -> None:
    async with serving(roots, ProbeHandler()) as (_, path):
        assert (await in_thread(path, f"{NAME}.Optional", {"number": 3}))["value"] == "None False 3.0"
        assert await Client(path).call(Probe.Optional, size=None, file=None, number=0.5) == "None False 0.5"


@pytest.mark.parametrize("code", list(ErrorCode))
async def test_errors_cross_with_code_and_nested_causes(roots: Roots, code: ErrorCode) -> None:
    async with serving(roots, ProbeHandler()) as (_, path):
        for call in (
            Client(path).call(Probe.Fail, code=code.value),
            in_thread(path, f"{NAME}.Fail", {"code": code.value}),
        ):
            with pytest.raises(ContainerError) as caught:
                await call
            assert caught.value.code is code
            assert caught.value.trace() == 'outermost (cause: "exists: "middle (cause: "notFound: "innermost"")"")'
            assert caught.value.describe() == "outermost: middle: innermost"


async def test_an_expected_error_out_of_a_task_group_keeps_its_code(roots: Roots) -> None:
    async with serving(roots, ProbeHandler()) as (_, path):
        with pytest.raises(ContainerError, match="in a group") as caught:
            await Client(path).call(Probe.Crash)
        assert caught.value.code is ErrorCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("method", "parameters", "code", "text"),
    [
        (f"{NAME}.Nothing", {}, ErrorCode.UNSUPPORTED, "no method Nothing"),
        (f"{NAME}._accept", {}, ErrorCode.INVALID_ARGUMENT, "not a valid call"),
        ("io.container.Nothing.Get", {}, ErrorCode.UNSUPPORTED, "no interface io.container.Nothing"),
        (f"{NAME}.Echo", {}, ErrorCode.INVALID_ARGUMENT, "text"),
        (f"{NAME}.Echo", {"text": 1}, ErrorCode.INVALID_ARGUMENT, "expected string, but got a int"),
        (f"{NAME}.Echo", {"text": "", "more": 1}, ErrorCode.INVALID_ARGUMENT, "more"),
        (f"{NAME}.Models", {"sizes": [{"columns": 1}], "named": {}}, ErrorCode.INVALID_ARGUMENT, "rows"),
        (f"{NAME}.Read", {"first": 0, "second": 7, "text": ""}, ErrorCode.INVALID_ARGUMENT, "7 is not the index"),
        (f"{NAME}.Read", {"first": -1, "second": 0, "text": ""}, ErrorCode.INVALID_ARGUMENT, "-1 is not the index"),
        (f"{NAME}.Count", {"until": 1}, ErrorCode.INVALID_ARGUMENT, "stream"),
    ],
)
async def test_bad_calls_are_answered_and_their_descriptors_closed(
    roots: Roots, method: str, parameters: dict[str, Any], code: ErrorCode, text: str
) -> None:
    read_end = filled_pipe(b"x")
    async with serving(roots, ProbeHandler()) as (_, path):
        await in_thread(path, f"{NAME}.Echo", {"text": "thread and all are there"})
        async with no_descriptor_left():
            with pytest.raises(ContainerError, match=text) as caught:
                await in_thread(path, method, parameters, fds=[read_end])
            assert caught.value.code is code
            await asyncio.sleep(0.02)
    os.close(read_end)


async def test_descriptors_reach_the_handler_and_stay_the_callers(roots: Roots) -> None:
    async with serving(roots, ProbeHandler()) as (_, path):
        await in_thread(path, f"{NAME}.Echo", {"text": ""})
        async with no_descriptor_left():
            first, second = filled_pipe(b"abcd"), filled_pipe(b"efgh")
            text = "x" * 3_000_000  # the descriptors come with the first of many pieces
            content = await Client(path).call(
                Probe.Read, first=FileDescriptor(first), second=FileDescriptor(second), text=text
            )
            assert content == "abcdefgh3000000"
            for fd in (first, second):
                os.fstat(fd)
                os.close(fd)
            first = filled_pipe(b"quick")
            parameters = {"first": 0, "second": 0, "text": text}
            assert (await in_thread(path, f"{NAME}.Read", parameters, fds=[first]))["content"] == "quick3000000"
            os.close(first)


async def test_the_same_descriptor_may_go_into_two_parameters(roots: Roots) -> None:
    async with serving(roots, ProbeHandler()) as (_, path):
        fd = filled_pipe(b"both")
        call = Client(path).call(Probe.Read, first=FileDescriptor(fd), second=FileDescriptor(fd), text="")
        assert await call == "both0"
        os.close(fd)


async def test_descriptors_in_a_result_belong_to_the_caller(roots: Roots) -> None:
    async with serving(roots, ProbeHandler()) as (_, path):
        await in_thread(path, f"{NAME}.Echo", {"text": ""})
        async with no_descriptor_left():
            pipes = await Client(path).call(Probe.Pipes)
            assert [os.read(pipe.fileno(), 10) for pipe in pipes] == [b"one", b"two"]
            assert not any(os.get_inheritable(pipe.fileno()) for pipe in pipes)
            for pipe in pipes:
                pipe.close()
            assert await in_thread(path, f"{NAME}.Pipes") == {"pipes": [0, 1]}  # dropped by the kernel


async def test_a_deadline_ends_the_call_and_cancels_the_handler(roots: Roots) -> None:
    expected = f"request to {SERVICE}/test.Probe.Sleep timed out after 0.1 s; `container system logs` may say why"
    for client in ("typed", "quick"):
        handler = ProbeHandler()
        async with serving(roots, handler) as (_, path):
            if client == "typed":
                call: Any = Client(path, timeout=0.1).call(Probe.Sleep)
            else:
                call = in_thread(path, f"{NAME}.Sleep", timeout=0.1)
            with pytest.raises(ContainerError) as caught:
                await call
            assert (caught.value.code, caught.value.message) == (ErrorCode.TIMEOUT, expected)
            async with asyncio.timeout(5):
                await handler.cancelled.wait()


async def test_cancelling_a_call_cancels_the_handler(roots: Roots) -> None:
    handler = ProbeHandler()
    async with serving(roots, handler) as (_, path), asyncio.timeout(5):
        async with asyncio.TaskGroup() as group:
            call = group.create_task(Client(path).call(Probe.Sleep))
            await handler.started.wait()
            call.cancel()
        await handler.cancelled.wait()


async def test_a_stream_delivers_each_item_at_once_and_ends(roots: Roots) -> None:
    async with serving(roots, ProbeHandler()) as (_, path):
        async with Client(path).stream(Probe.Count, until=1000) as numbers:
            assert [number async for number in numbers] == list(range(1, 1001))

        def collect() -> list[Any]:
            return list(quick.stream(path, f"{NAME}.Count", {"until": 3}))

        assert await asyncio.to_thread(collect) == [{"number": 1}, {"number": 2}, {"number": 3}]


async def test_leaving_a_silent_stream_cancels_the_handler(roots: Roots) -> None:
    for client in ("typed", "quick"):
        handler = ProbeHandler()
        async with serving(roots, handler) as (_, path), asyncio.timeout(5):
            if client == "typed":
                async with Client(path).stream(Probe.Count, until=-2) as numbers:
                    assert [await anext(numbers), await anext(numbers)] == [1, 2]
                    await handler.started.wait()
            else:
                items = quick.stream(path, f"{NAME}.Count", {"until": -1})
                assert await asyncio.to_thread(next, items) == {"number": 1}
                await handler.started.wait()
                items.close()  # type: ignore[attr-defined]
            await handler.cancelled.wait()


async def test_a_slow_reader_of_a_stream_holds_the_handler_back(roots: Roots) -> None:
    handler = ProbeHandler()
    async with serving(roots, handler) as (_, path), Client(path).stream(Probe.Count, until=200_000) as numbers:
        assert await anext(numbers) == 1
        await asyncio.sleep(0.3)
        assert not handler.cancelled.is_set()
        assert await anext(numbers) == 2


async def test_a_service_that_does_not_run_is_named_with_its_socket(roots: Roots) -> None:
    path = roots.socket(SERVICE)
    expected = f"cannot reach the container services: connection to {SERVICE} failed: {path}: No such file or directory"
    for call in (Client(path).call(Probe.Sleep), in_thread(path, f"{NAME}.Sleep")):
        with pytest.raises(ContainerError) as caught:
            await call
        assert (caught.value.code, caught.value.message) == (ErrorCode.INTERRUPTED, expected)


async def test_a_service_that_ends_interrupts_its_callers(roots: Roots) -> None:
    handler = ProbeHandler()

    async def interrupted(call: Coroutine[Any, Any, Any]) -> None:
        with pytest.raises(ContainerError, match="was lost") as caught:
            await asyncio.wait_for(call, 5)
        assert caught.value.code is ErrorCode.INTERRUPTED

    async with asyncio.TaskGroup() as group, serving(roots, handler) as (_, path):
        group.create_task(interrupted(Client(path).call(Probe.Sleep)))
        group.create_task(interrupted(in_thread(path, f"{NAME}.Sleep")))
        await handler.started.wait()
        await asyncio.sleep(0.1)


@pytest.mark.parametrize("length", [107, 108, 150])
async def test_a_socket_path_of_any_length_works(tmp_path: Any, length: int) -> None:
    parent = tmp_path / ("d" * 40)
    service = "s" * max(1, length - len(str(parent / "run")) - 1)
    roots = Roots("a", str(parent / "run"), "i", "l", "c")
    from container.ipc.server import serve

    server = await serve([ProbeHandler()], service=service, roots=roots)
    async with no_descriptor_left():
        assert service in os.listdir(roots.run)
    async with server:
        path = roots.socket(service)
        assert await Client(path).call(Probe.Echo, text="typed") == "typed"
        assert await in_thread(path, f"{NAME}.Echo", {"text": "quick"}) == {"text": "quick"}
    assert service not in os.listdir(roots.run)


async def test_a_63_character_container_id_fits(roots: Roots) -> None:
    from container.ipc.server import serve
    from container.paths import runtime_service

    service = runtime_service("container-runtime-linux", "c" * 63)
    async with await serve([ProbeHandler()], service=service, roots=roots):
        assert await Client(roots.socket(service)).call(Probe.Echo, text="fits") == "fits"


async def test_twenty_clients_at_once_are_served_side_by_side(roots: Roots) -> None:
    async with serving(roots, ProbeHandler()) as (_, path):
        begin = time.monotonic()
        answers = await asyncio.gather(
            *(in_thread(path, f"{NAME}.Echo", {"text": str(index)}) for index in range(20)),
            *(Client(path).call(Probe.Echo, text=str(index)) for index in range(200)),
        )
        assert [answer["text"] for answer in answers[:20]] == [str(index) for index in range(20)]
        assert answers[20:] == [str(index) for index in range(200)]
        assert time.monotonic() - begin < 10


async def test_a_long_answer_arrives_whole(roots: Roots) -> None:
    async with serving(roots, ProbeHandler()) as (_, path):
        text = "y" * 15_000_000
        assert await Client(path).call(Probe.Echo, text=text) == text
        assert (await in_thread(path, f"{NAME}.Echo", {"text": text}))["text"] == text
