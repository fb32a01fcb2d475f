import socket
from dataclasses import replace

import pytest
from support.launches import attachment, launch

from container.errors import ContainerError, ErrorCode
from container.model.container import DNSConfiguration, Resources
from container.model.mount import Mount
from container.model.port import PublishPort
from container.plugins.runtime import guestplan, plan, sockets
from container.vm.spec import Disk, Nic


def configured(**changes):
    base = launch()
    return replace(base, configuration=replace(base.configuration, **changes))


def contents(configuration, attachments):
    return {file.path: file.content for file in guestplan.files(configuration, attachments)}


def test_the_machine_has_the_containers_cpus_and_its_memory_plus_the_guests_own():
    spec = plan.machine(launch(), "/initramfs", "/upper", [Nic(7)], 8)
    assert (spec.cpus, spec.memory_in_bytes) == (2, (256 + 128) << 20)
    assert spec.disks == (
        Disk("/disk.vmdk", "image", format="vmdk", read_only=True),
        Disk("/upper", "upper", discard=True),
    )
    assert (spec.kernel, spec.initramfs, spec.nics) == ("/vmlinux", "/initramfs", (Nic(7),))


def test_the_machine_has_no_more_cpus_than_the_host():
    assert plan.machine(launch(), "", "", [], 1).cpus == 1


def test_kernel_arguments_of_the_user_are_passed_on():
    assert plan.machine(configured(kernel_arguments=["debug"]), "", "", [], 1).kernel_arguments == ("debug",)


def test_hosts_and_resolver_follow_the_first_network():
    written = contents(launch("web.example").configuration, [attachment(), attachment("10.0.0.5/8", "10.0.0.1")])
    assert written == {
        "/etc/hostname": "web\n",
        "/etc/hosts": "127.0.0.1 localhost\n192.168.64.2 web\n",
        "/etc/resolv.conf": "nameserver 192.168.64.1\n",
    }


def test_the_resolver_is_written_in_the_contracts_order():
    dns = DNSConfiguration(["1.1.1.1", "9.9.9.9"], "example.org", ["a.example", "b.example"], ["ndots:2", "rotate"])
    assert contents(configured(dns=dns).configuration, [attachment()])["/etc/resolv.conf"] == (
        "nameserver 1.1.1.1\nnameserver 9.9.9.9\ndomain example.org\nsearch a.example b.example\n"
        "options ndots:2 rotate\n"
    )


def test_without_dns_the_images_resolver_stays():
    assert set(contents(configured(dns=None).configuration, [attachment()])) == {"/etc/hostname", "/etc/hosts"}


def test_without_a_network_hosts_has_localhost_only():
    assert contents(launch().configuration, [])["/etc/hosts"] == "127.0.0.1 localhost\n"


def test_only_the_first_interface_has_default_routes():
    first = attachment(ipv6_address="fd00::2/64", ipv6_gateway="fd00::1", mac_address="f2:00:00:00:00:01", mtu=1280)
    one, two = guestplan.interfaces([first, attachment("10.0.0.5/8", "10.0.0.1")])
    assert (one.name, one.mac_address, one.mtu) == ("eth0", "f2:00:00:00:00:01", 1280)
    assert one.addresses == ["192.168.64.2/24", "fd00::2/64"]
    assert [route.gateway for route in one.routes] == ["192.168.64.1", "fd00::1"]
    assert (two.name, two.addresses, two.routes) == ("eth1", ["10.0.0.5/8"], [])


def test_sysctls_of_the_user_win_over_the_defaults():
    spec = guestplan.container(configured(sysctls={"vm.max_map_count": "1", "net.core.somaxconn": "9"}).configuration)
    assert spec.sysctls == guestplan.SYSCTLS | {"vm.max_map_count": "1", "net.core.somaxconn": "9"}


def test_limits_and_flags_reach_the_guest():
    spec = guestplan.container(configured(read_only=True, use_init=True, shm_size=1, cap_drop=["ALL"]).configuration)
    assert (spec.memory_max, spec.cpu_quota, spec.shm_size) == (256 << 20, 200_000, 1)
    resources = Resources(2, 256 << 20, cpu_quota=150_000)
    assert guestplan.container(configured(resources=resources).configuration).cpu_quota == 150_000
    assert (spec.read_only, spec.use_init, spec.capabilities) == (True, True, [])


@pytest.mark.parametrize(
    "changes",
    [
        {"virtualization": True},
    ],
)
def test_what_is_not_there_yet_is_refused_as_unsupported(changes):
    with pytest.raises(ContainerError) as caught:
        plan.check(configured(**changes).configuration)
    assert caught.value.code is ErrorCode.UNSUPPORTED


def test_ports_need_a_network():
    with pytest.raises(ContainerError, match="network"):
        plan.check(configured(networks=[], published_ports=[PublishPort("0.0.0.0", 80, 80)]).configuration)


def test_tmpfs_is_accepted():
    plan.check(configured(mounts=[Mount("tmpfs", "tmpfs", "/tmp", ["size=1m"])]).configuration)


def test_a_host_name_and_further_hosts_that_were_asked_for():
    wanted = configured(hostname="db1", extra_hosts=["x:10.0.0.9", "v6:fd00::9", "gate:host-gateway"]).configuration
    written = contents(wanted, [attachment()])
    assert written["/etc/hostname"] == "db1\n"
    assert written["/etc/hosts"].splitlines() == [
        "127.0.0.1 localhost",
        "192.168.64.2 db1",
        "10.0.0.9 x",
        "fd00::9 v6",
        "192.168.64.1 gate",
    ]


def test_ports_below_1024_and_ping_are_for_every_user_unless_told_otherwise():
    low, ping = "net.ipv4.ip_unprivileged_port_start", "net.ipv4.ping_group_range"
    sysctls = guestplan.container(configured(sysctls={low: "1024"}).configuration).sysctls
    assert (sysctls[low], sysctls[ping]) == ("1024", "0 2147483647")
    assert guestplan.container(configured().configuration).sysctls[low] == "0"


def test_the_ssh_agent_is_announced_unless_another_one_was():
    forwarding = replace(configured(ssh=True), ssh_socket="/agent")
    process = forwarding.configuration.init_process
    told = guestplan.process(forwarding, process)
    assert told.environment == [*process.environment, f"SSH_AUTH_SOCK={sockets.SSH_SOCKET}"]
    own = replace(process, environment=["SSH_AUTH_SOCK=/mine"])
    assert guestplan.process(forwarding, own) == own
    assert guestplan.process(replace(forwarding, ssh_socket=None), process) == process


def test_sockets_of_the_host_are_mounts_of_the_guest(tmp_path):
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        mounts = [Mount("virtiofs", path, "/run/s"), Mount("tmpfs", "tmpfs", "/tmp")]
        wanted = replace(configured(ssh=True, mounts=mounts), ssh_socket="/agent")
        forwards = sockets.forwards(wanted)
        assert [(item.container_path, item.host_path) for item in forwards] == [
            ("/run/s", path),
            (sockets.SSH_SOCKET, "/agent"),
        ]
        assert guestplan.container(wanted.configuration, forwards).mounts == [
            Mount("socket", forwards[0].listener, "/run/s"),
            Mount("tmpfs", "tmpfs", "/tmp"),
            Mount("socket", forwards[1].listener, sockets.SSH_SOCKET),
        ]
