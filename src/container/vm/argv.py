"""From a VMSpec to QEMU's command line (qemu(1)): pure, so that unit tests cover every option.

Paths travel in JSON where QEMU takes JSON, so that no character in them has a meaning.
"""

import json
from collections.abc import Iterable, Iterator

from container.errors import ContainerError, ErrorCode
from container.vm.spec import AGENT_PORT, Disk, Nic, Share, VMSpec, Wiring, card_address

MIB = 1 << 20

_BINARIES = {"amd64": "qemu-system-x86_64", "arm64": "qemu-system-aarch64"}
_MACHINES = {"amd64": "q35", "arm64": "virt"}
# What no container needs: each device that is not there is not probed by the kernel.
_MACHINE_OPTIONS = {
    "q35": "q35,dump-guest-core=off,vmport=off,smbus=off,sata=off,i8042=off,usb=off,graphics=off",
    "virt": "virt,dump-guest-core=off,gic-version=max,usb=off",
}
# qboot starts a kernel at once, where SeaBIOS looks for disks and option ROMs.
_FIRMWARE = {"q35": "qboot.rom"}
_CONSOLES = {"amd64": "ttyS0", "arm64": "ttyAMA0"}

_KERNEL_ARGUMENTS = (
    "quiet",
    "loglevel=4",  # warnings, errors and panics only: each byte on the serial port is an exit
    "panic=-1",  # a panic reboots at once, and -no-reboot turns that into QEMU's end
    "oops=panic",
    "lsm=lockdown,capability,landlock,yama,apparmor",
    "rcupdate.rcu_expedited=1",  # a start waits for a dozen grace periods, on CPUs that have nothing else to do
    "cryptomgr.notests",  # self tests of the crypto drivers: 0.25 s under emulation
)
_TCG_ARGUMENTS = (
    "mitigations=off",  # emulation executes nothing speculatively, and is no security boundary anyway
    "tsc=reliable",  # with several CPUs the kernel else distrusts it, and each look at the clock is an exit to the HPET
    "no_timer_check",  # a busy wait of 40 ms
)
# TCG does `rep movsb` byte by byte: without these flags kernel and libc move words. Without SMAP and SMEP a copy from
# user space ends no translation block. Together 12 % of a boot.
_TCG_CPUS = {"amd64": "max,erms=off,fsrm=off,smap=off,smep=off", "arm64": "max,pauth-impdef=on"}

AGENT_CHANNEL = "agent"
NOTHING = "null-co"  # a disk without a file
_SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"


def binary(architecture: str) -> str:
    """Name of the QEMU program for an architecture. Raises ContainerError(unsupported)."""
    try:
        return _BINARIES[architecture]
    except KeyError:
        raise ContainerError(ErrorCode.UNSUPPORTED, f"unsupported architecture {architecture}") from None


def build(spec: VMSpec, wiring: Wiring) -> list[str]:
    """QEMU's whole argv. Raises ContainerError(unsupported) for an unknown architecture or machine."""
    program = binary(spec.architecture)
    machine = spec.machine or _MACHINES[spec.architecture]
    return [
        program,
        *("-name", f"guest={_escape(spec.name)}"),
        *("-nodefaults", "-no-user-config", "-no-reboot"),
        *("-display", "none"),
        *("-sandbox", _SANDBOX),
        *_machine(spec, machine),
        *("-kernel", spec.kernel),
        *("-initrd", spec.initramfs),
        *("-append", command_line(spec)),
        *_channels(wiring),
        *("-device", "virtio-balloon-pci,id=balloon,free-page-reporting=on"),
        *_disks(spec),
        *_nics(spec.nics),
        *_shares(spec.shares),
        *(() if wiring.state is None else ("-incoming", f"fd:{wiring.state}")),
    ]


def command_line(spec: VMSpec) -> str:
    """The kernel's command line: our arguments, each unless the spec gives the same key, then the spec's."""
    given = {argument.partition("=")[0] for argument in spec.kernel_arguments}
    defaults = [f"console={_CONSOLES[spec.architecture]}", *_KERNEL_ARGUMENTS]
    if spec.accelerator.name == "tcg" and spec.architecture == "amd64":
        defaults += _TCG_ARGUMENTS
        if spec.accelerator.tsc_khz:  # what a guest finds out by itself is wrong when the host is busy
            defaults.append(f"tsc_early_khz={spec.accelerator.tsc_khz}")
    kept = [argument for argument in defaults if argument.partition("=")[0] not in given]
    return " ".join([*kept, *spec.kernel_arguments])


def _machine(spec: VMSpec, machine: str) -> Iterator[str]:
    if machine not in _MACHINE_OPTIONS:
        raise ContainerError(ErrorCode.UNSUPPORTED, f"unsupported machine {machine}")
    size = f"{-(-spec.memory_in_bytes // MIB)}M"
    # The file servers read and write the guest's memory themselves.
    yield from ("-machine", _MACHINE_OPTIONS[machine] + (",memory-backend=memory" if spec.shares else ""))
    if spec.shares:
        yield from ("-object", f"memory-backend-memfd,id=memory,size={size},share=on")
    if spec.accelerator.name == "tcg":
        yield from ("-accel", "tcg,thread=multi", "-cpu", _TCG_CPUS[spec.architecture])
    else:
        yield from ("-accel", spec.accelerator.name, "-cpu", "host")
    yield from ("-smp", f"cpus={spec.cpus},sockets=1,cores={spec.cpus},threads=1")
    yield from ("-m", f"size={size}")
    for directory in spec.firmware_path:
        yield from ("-L", directory)
    if machine in _FIRMWARE:
        yield from ("-bios", _FIRMWARE[machine])


def _channels(wiring: Wiring) -> Iterator[str]:
    yield from ("-chardev", f"socket,id=monitor,fd={wiring.monitor}")
    yield from ("-mon", "chardev=monitor,mode=control")
    yield from ("-chardev", f"file,id=console,path={_escape(wiring.boot_log)},append=on")
    yield from ("-serial", "chardev:console")
    yield from ("-chardev", f"socket,id={AGENT_CHANNEL},fd={wiring.agent}")
    yield from ("-device", "virtio-serial-pci,id=ports,max_ports=2")
    yield from ("-device", f"virtserialport,id=port,bus=ports.0,nr=1,chardev={AGENT_CHANNEL},name={AGENT_PORT}")


def _disks(spec: VMSpec) -> Iterator[str]:
    for index, disk in enumerate(spec.disks):
        node = f"disk{index}"
        device: dict[str, object] = {"driver": "virtio-blk-pci", "id": node, "drive": node, "serial": disk.serial}
        if spec.accelerator.name == "tcg":
            device["num-queues"] = 1  # each queue costs an interrupt vector at boot, and brings nothing here
        yield from ("-blockdev", json.dumps(block_node(node, disk)))
        yield from ("-device", json.dumps(device))


def block_node(node: str, disk: Disk) -> dict[str, object]:
    """The arguments of QMP's `blockdev-add`, and of `-blockdev`, for what is behind a disk."""
    if disk.format == NOTHING:
        return {"driver": NOTHING, "node-name": node, "read-only": disk.read_only}
    file: dict[str, object] = {"driver": "file", "filename": disk.path, "read-only": disk.read_only}
    block: dict[str, object] = {"driver": disk.format, "node-name": node, "read-only": disk.read_only, "file": file}
    if disk.discard:
        block["discard"] = file["discard"] = "unmap"
    if disk.volatile:
        block["cache"] = {"no-flush": True}
    return block


def _nics(nics: Iterable[Nic]) -> Iterator[str]:
    for index, nic in enumerate(nics):
        yield from ("-netdev", f"tap,id=net{index},fd={nic.tap}")
        # An empty romfile: the firmware boots nothing from the network.
        yield from ("-device", f"virtio-net-pci,id=nic{index},netdev=net{index},mac={card_address(index)},romfile=")


def _shares(shares: Iterable[Share]) -> Iterator[str]:
    for index, share in enumerate(shares):
        yield from ("-chardev", f"socket,id=share{index},fd={share.socket}")
        yield from ("-device", f"vhost-user-fs-pci,queue-size=1024,chardev=share{index},tag={share.tag}")


def _escape(value: str) -> str:
    """A value inside an option list: a comma is written twice."""
    return value.replace(",", ",,")
