"""What containers have to do with networks and sockets of the host."""

import os
import socket
from contextlib import aclosing

from unit.apiserver.containers.house import House

from container.apiserver.containers.streams import Streams
from container.errors import ContainerError
from container.model.network import AttachmentConfiguration, AttachmentOptions
from container.store.leftovers import Leftovers


async def test_a_network_is_in_use_by_stopped_containers_and_by_those_being_made(house: House) -> None:
    await house.create("bb")
    await house.create("aa")
    await house.create("other", networks=[])
    assert await house.service.on_network("default") == ["aa", "bb"]
    assert await house.service.on_network("nope") == []
    await house.service.delete("aa", False)
    assert await house.service.on_network("default") == ["bb"]
    try:
        await house.create("bad", networks=[AttachmentConfiguration("nope", AttachmentOptions("x"))])
    except ContainerError:
        assert await house.service.on_network("nope") == []


async def test_each_start_forwards_the_agent_of_who_starts_it(house: House) -> None:
    await house.create(ssh=True)
    for agent in ("/first", "/second"):
        environment = {"SSH_AUTH_SOCK": agent, "OTHER": "x"}
        async with aclosing(house.service.start("web", Streams(), False, environment)) as events:
            async for _ in events:
                pass
        launch = house.helpers["web"].launch
        assert launch is not None
        assert launch.ssh_socket == agent
        await house.service.stop("web", None, 1)


async def test_a_published_socket_goes_when_its_helper_was_killed(house: House) -> None:
    await house.create()
    await house.start()
    bundle = house.roots.bundle("web")
    path = os.path.join(bundle, "left.sock")
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(path)
        Leftovers(os.path.join(bundle, "sockets.json")).note(path)
    await house.service.stop("web", None, 1)
    assert not os.path.exists(path)
