"""Interfaces as they are written down."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from container.errors import ContainerError, ErrorCode
from container.ipc.errors import from_wire, to_wire
from container.ipc.interface import Interface, method, signature_of, stream


def test_every_interface_of_the_api_can_be_described() -> None:
    from container.api import containers, images, network, networks, runtime, supervisor, system

    for interface in (
        containers.Containers,
        images.Images,
        network.Network,
        networks.Networks,
        runtime.Runtime,
        supervisor.Supervisor,
        system.System,
    ):
        text = interface.render_interface_description()
        assert text.count("\nmethod ") >= 1
        assert f"interface {interface.name}" in text


def test_an_override_of_the_wrong_kind_is_refused() -> None:
    class Kinds(Interface, name="io.container.test.Kinds"):
        @method()
        async def One(self) -> None:
            """One."""

        @stream("item")
        def Many(self) -> AsyncIterator[int]:
            """Many."""

    with pytest.raises(TypeError, match="One must be a coroutine function"):

        class _One(Kinds):
            def One(self) -> None:  # type: ignore[override]
                """Not async."""

    with pytest.raises(TypeError, match="Many must be an async generator"):

        class _Many(Kinds):
            async def Many(self) -> None:  # type: ignore[override]
                """Not a generator."""

    assert signature_of(Kinds.One).qualified == "io.container.test.Kinds.One"
    with pytest.raises(TypeError, match="is not a method"):
        signature_of(print)


def test_a_type_without_a_place_on_the_wire_is_refused() -> None:
    with pytest.raises(TypeError, match="has no varlink type"):

        class _Bad(Interface, name="io.container.test.Bad"):
            @method()
            async def Take(self, *, thing: complex) -> None:
                """A complex number."""


def test_unknown_error_codes_and_foreign_errors_become_unknown() -> None:
    for name in ("io.container.Error.NeverHeardOf", "io.container.Error.", "com.example.Broken", "", "x"):
        assert from_wire(name, {"message": 3}).code is ErrorCode.UNKNOWN
    assert from_wire("io.container.Error.NotFound", {"cause": {"code": []}}).cause is not None


@settings(max_examples=50, deadline=None)
@given(st.text(), st.dictionaries(st.text(), st.recursive(st.none() | st.integers() | st.text(), st.lists)))
def test_no_error_reply_breaks_its_reader(name: str, parameters: dict[str, Any]) -> None:
    assert isinstance(from_wire(name, parameters), ContainerError)


def test_a_long_chain_of_causes_is_cut() -> None:
    error = None
    for index in range(100):
        error = ContainerError(ErrorCode.INTERNAL, str(index), error)
    assert error is not None
    depth, found = 0, from_wire(*to_wire(error)).cause
    while found is not None:
        depth, found = depth + 1, found.cause
    assert 0 < depth <= 16
