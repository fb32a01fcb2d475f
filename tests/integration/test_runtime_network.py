"""A container on a real network: addresses, published ports, and a network helper that dies and comes back."""

import asyncio
import os
import socket
import urllib.request

import pytest
import pytest_asyncio
from support import nethelper, netlab, ports
from support.rig import Rig

from container.api.network import Network
from container.api.runtime import Runtime
from container.model.launch import NetworkService
from container.model.network import AttachmentConfiguration, AttachmentOptions
from container.model.port import PublishPort

pytestmark = [
    pytest.mark.vm,
    pytest.mark.timeout(180),
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(os.geteuid() != 0, reason="makes a host of its own: needs root"),
]
SERVER = "mkdir -p /www; echo hello from $(hostname) > /www/index.html; exec httpd -f -p 80 -h /www"
NETWORKS = [AttachmentConfiguration("default", AttachmentOptions("web"))]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def network():
    netlab.require_namespaces()
    with nethelper.host(None) as helper:
        await helper.start("--subnet", "192.168.77.0/24")
        yield helper
        await helper.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def web(tmp_path_factory, network):
    rig = Rig(tmp_path_factory.mktemp("rig"))
    port = ports.reserve()
    async with rig.running(
        "web",
        ["sh", "-c", SERVER],
        networks=NETWORKS,
        network_services=[NetworkService("default", network.socket)],
        published_ports=[PublishPort("127.0.0.1", port, 80)],
    ) as helper:
        helper.port = port
        yield helper
        await helper.stop(9)
        assert await helper.ended() == 0
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))


async def page(port, tries=100):
    def fetch():
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
            return answer.read().decode()

    for _ in range(tries):
        try:
            return await asyncio.to_thread(fetch)
        except OSError:
            await asyncio.sleep(0.1)
    return await asyncio.to_thread(fetch)


async def test_a_published_port_answers_from_the_guest(web):
    assert await page(web.port) == "hello from web\n"


async def test_the_container_has_the_address_that_status_tells(web):
    status = await web.client.call(Runtime.Status)
    (attachment,) = status.networks
    assert attachment.ipv4_gateway == "192.168.77.1"
    assert attachment.mac_address[:2] in ("f2", "f6", "fa", "fe")
    code, out, _ = await web.exec("sh", "-c", "ip addr show eth0; ip route; cat /etc/resolv.conf /etc/hosts")
    assert code == 0
    assert f"inet {attachment.ipv4_address}" in out
    assert f"link/ether {attachment.mac_address}" in out
    assert "default via 192.168.77.1 dev eth0" in out
    assert "nameserver 192.168.77.1" in out
    assert f"{attachment.ipv4_address.partition('/')[0]} web" in out
    assert (await web.exec("ping", "-c", "1", "-W", "5", "192.168.77.1"))[0] == 0


async def test_a_network_helper_that_dies_is_not_noticed_and_knows_the_lease_when_it_is_back(web, network):
    before = (await network.client.call(Network.Attachments))["web"]
    network.kill()
    assert await page(web.port) == "hello from web\n"
    await asyncio.sleep(0.5)
    await network.start("--subnet", "192.168.77.0/24")
    async with asyncio.timeout(20):
        while "has its lease of network default again" not in (web.bundle / "helper.log").read_text():
            await asyncio.sleep(0.1)
    assert (await network.client.call(Network.Attachments))["web"] == before
    assert await page(web.port) == "hello from web\n"


async def test_the_address_is_free_when_the_container_has_ended(web, network):
    async with web.rig.helper("brief") as helper:
        services = [NetworkService("default", network.socket)]
        networks = [AttachmentConfiguration("default", AttachmentOptions("brief"))]
        code, out, _ = await helper.run(["ip", "addr"], networks=networks, network_services=services)
        assert code == 0
        assert "192.168.77." in out
        assert await helper.ended() == 0
    assert set(await network.client.call(Network.Attachments)) == {"web"}


async def test_a_network_whose_helper_does_not_run_is_an_error(web):
    from container.errors import ContainerError

    async with web.rig.helper("lonely") as helper:
        services = [NetworkService("default", "/nonexistent/socket")]
        with pytest.raises(ContainerError, match="/nonexistent/socket"):
            await helper.run(["true"], networks=NETWORKS, network_services=services)
        assert await helper.ended() == 0
