"""QEMU's command line."""

import json
from dataclasses import replace

import pytest

from container.errors import ContainerError, ErrorCode
from container.model.system import Accelerator
from container.vm import argv
from container.vm.spec import Disk, Nic, Share, VMSpec, Wiring, card_address

WIRING = Wiring(monitor=5, agent=7, boot_log="/run/a,b/boot.log")


def spec(name: str = "tcg", **changes: object) -> VMSpec:
    values: dict[str, object] = {
        "name": "web",
        "architecture": "amd64",
        "accelerator": Accelerator(name, "test", 1.0),
        "kernel": "/k/vmlinux",
        "initramfs": "/k/initramfs",
        "cpus": 2,
        "memory_in_bytes": 512 * argv.MIB,
    }
    return VMSpec(**{**values, **changes})  # type: ignore[arg-type]


def values(words: list[str], option: str) -> list[str]:
    return [words[index + 1] for index, word in enumerate(words) if word == option]


def devices(words: list[str]) -> list[dict[str, object]]:
    return [json.loads(value) for value in values(words, "-device") if value.startswith("{")]


def test_an_emulated_guest_is_told_the_frequency_of_its_counter() -> None:
    known = Accelerator("tcg", "test", 1.0, tsc_khz=2_596_136)
    assert "tsc_early_khz=2596136" in values(argv.build(spec(accelerator=known), WIRING), "-append")[0].split()
    assert "tsc_early_khz" not in values(argv.build(spec(), WIRING), "-append")[0]


def test_emulation_and_kvm_choose_their_own_cpu() -> None:
    emulated, real = argv.build(spec("tcg"), WIRING), argv.build(spec("kvm"), WIRING)
    assert values(emulated, "-accel")[0].startswith("tcg,")
    assert values(real, "-accel") == ["kvm"]
    assert values(real, "-cpu") == ["host"]


def test_qemu_is_confined_and_does_nothing_by_default() -> None:
    words = argv.build(spec(), WIRING)
    assert words[0] == "qemu-system-x86_64"
    assert {"-nodefaults", "-no-user-config", "-no-reboot"} <= set(words)
    assert values(words, "-display") == ["none"]
    (sandbox,) = values(words, "-sandbox")
    for denied in ("obsolete", "elevateprivileges", "spawn", "resourcecontrol"):
        assert f"{denied}=deny" in sandbox


def test_monitor_and_agent_are_inherited_descriptors() -> None:
    words = argv.build(spec(), WIRING)
    assert "socket,id=monitor,fd=5" in values(words, "-chardev")
    assert "socket,id=agent,fd=7" in values(words, "-chardev")
    assert any("name=io.container.agent" in device for device in values(words, "-device"))


def test_a_comma_in_the_boot_log_is_no_option() -> None:
    assert "file,id=console,path=/run/a,,b/boot.log,append=on" in values(argv.build(spec(), WIRING), "-chardev")


def test_memory_is_rounded_up_to_whole_mebibytes() -> None:
    assert values(argv.build(spec(memory_in_bytes=200 * argv.MIB + 1), WIRING), "-m") == ["size=201M"]


def test_disks_keep_their_order_serial_and_rights() -> None:
    image = Disk(path='/d/a,"b.vmdk', serial="image", format="vmdk", read_only=True)
    upper = Disk(path="/d/upper.ext4", serial="upper", discard=True)
    words = argv.build(spec(disks=(image, upper)), WIRING)
    first, second = (json.loads(value) for value in values(words, "-blockdev"))
    assert (first["driver"], first["read-only"], first["file"]["filename"]) == ("vmdk", True, '/d/a,"b.vmdk')
    assert (second["driver"], second["read-only"], second["discard"], second["file"]["discard"]) == (
        "raw",
        False,
        "unmap",
        "unmap",
    )
    assert [device["serial"] for device in devices(words)] == ["image", "upper"]
    assert [device["drive"] for device in devices(words)] == [first["node-name"], second["node-name"]]


def test_nics_get_their_tap_and_mac_and_no_boot_rom() -> None:
    words = argv.build(spec(nics=(Nic(tap=11), Nic(tap=12))), WIRING)
    assert values(words, "-netdev") == ["tap,id=net0,fd=11", "tap,id=net1,fd=12"]
    cards = [value for value in values(words, "-device") if value.startswith("virtio-net")]
    for position, device in enumerate(cards):
        assert f"mac={card_address(position)}" in device
        assert device.endswith("romfile=")


def test_a_machine_goes_on_from_a_file_that_it_inherits() -> None:
    assert "-incoming" not in argv.build(spec(), WIRING)
    assert values(argv.build(spec(), replace(WIRING, state=9)), "-incoming") == ["fd:9"]


def test_kernel_arguments_of_the_user_replace_ours() -> None:
    line = argv.command_line(spec(kernel_arguments=("loglevel=7", "lsm=landlock", "x"))).split()
    assert [word for word in line if word.startswith(("loglevel", "lsm"))] == ["loglevel=7", "lsm=landlock"]
    assert line[-1] == "x"
    assert "oops=panic" in line


def test_mitigations_stay_on_under_kvm() -> None:
    assert "mitigations=off" in argv.command_line(spec("tcg"))
    assert "mitigations" not in argv.command_line(spec("kvm"))


def test_an_unknown_architecture_or_machine_is_unsupported() -> None:
    for changed in (spec(architecture="riscv64"), spec(machine="pc98")):
        with pytest.raises(ContainerError) as caught:
            argv.build(changed, WIRING)
        assert caught.value.code is ErrorCode.UNSUPPORTED


def test_arm64_uses_its_own_qemu_and_console() -> None:
    words = argv.build(spec(architecture="arm64"), WIRING)
    assert words[0] == "qemu-system-aarch64"
    assert values(words, "-machine")[0].startswith("virt,")
    assert "console=ttyAMA0" in values(words, "-append")[0]


def test_shares_need_memory_that_the_file_servers_see() -> None:
    words = argv.build(spec(shares=(Share("src", 9), Share("data", 11))), WIRING)
    assert values(words, "-object") == ["memory-backend-memfd,id=memory,size=512M,share=on"]
    assert values(words, "-machine")[0].endswith(",memory-backend=memory")
    assert {"socket,id=share0,fd=9", "socket,id=share1,fd=11"} <= set(values(words, "-chardev"))
    assert "vhost-user-fs-pci,queue-size=1024,chardev=share1,tag=data" in values(words, "-device")


def test_a_machine_without_shares_has_private_memory() -> None:
    words = argv.build(spec(), WIRING)
    assert values(words, "-object") == []
    assert "memory-backend" not in " ".join(words)


def test_what_is_gone_with_the_machine_need_not_get_to_the_medium() -> None:
    words = argv.build(spec(disks=(Disk("/u", "upper", volatile=True), Disk("/v", "v"))), WIRING)
    upper, volume = (json.loads(value) for value in values(words, "-blockdev"))
    assert upper["cache"] == {"no-flush": True}
    assert "cache" not in volume
