"""Which container a word means."""

import pytest
from unit.apiserver.containers.house import House

from container.apiserver.containers.lookup import full_id
from container.errors import ContainerError, ErrorCode
from container.model.container import ContainerState

ONE, TWO = "abcd1234-0000-4000-8000-000000000001", "abcd9999-0000-4000-8000-000000000002"


@pytest.mark.parametrize(
    ("word", "id"),
    [
        (ONE, ONE),
        ("abcd1", ONE),
        (ONE[:35], ONE),
        ("abcd9999", TWO),
        ("abc", "abc"),  # too short
        ("web", "web"),
        ("web-", "web-"),  # a name is taken whole
        ("ABCD1", "ABCD1"),
        ("abcd12345", "abcd12345"),
    ],
)
def test_a_beginning_of_a_generated_id_means_that_container(word: str, id: str) -> None:
    assert full_id(word, {ONE, TWO, "web-10", "abcd1234-name"}) == id


def test_a_name_wins_over_the_beginning_of_an_id() -> None:
    assert full_id("abcd", {ONE, TWO, "abcd"}) == "abcd"


def test_a_beginning_of_several_ids_is_an_error_that_lists_them() -> None:
    with pytest.raises(ContainerError) as caught:
        full_id("abcd", {TWO, ONE, "web"})
    assert caught.value.code is ErrorCode.INVALID_ARGUMENT
    assert f"container ID abcd is ambiguous, it may be {ONE}, {TWO}" in caught.value.message


async def test_every_operation_takes_the_beginning_of_an_id(house: House) -> None:
    await house.create(ONE)
    await house.create("abcd-name")
    await house.start("abcd")
    assert (await house.service.get("abcd1")).id == ONE
    assert (await house.service.find("abcd1")).id == ONE
    assert (await house.service.logs("abcd1")).stdio == (await house.service.logs(ONE)).stdio
    await house.service.signal("abcd", "abcd", "USR1")
    assert house.helpers[ONE].signals[-1][0] == ONE
    assert await house.service.kill("abcd", "USR1") == ONE
    assert await house.service.stop("abcd", None, 1) == ONE
    assert await house.state(ONE) is ContainerState.STOPPED
    await house.service.wait("abcd")
    assert await house.service.delete("abcd", False) == ONE
    with pytest.raises(ContainerError, match="container with ID abcd not found"):
        await house.service.delete("abcd", False)
    assert [each.id for each in await house.service.list(True)] == ["abcd-name"]
