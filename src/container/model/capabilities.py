"""Linux capabilities (capabilities(7)): every name, a container's default set, adds and drops (contract 1.9)."""

ALL = "ALL"
_NAMES = """
    CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE
    NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN
    SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE
    MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE
"""
_DEFAULT = """
    CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL
    AUDIT_WRITE
"""
NAMES = tuple(f"CAP_{name}" for name in _NAMES.split())  # by number
DEFAULT = frozenset(f"CAP_{name}" for name in _DEFAULT.split())


def granted(add: list[str], drop: list[str]) -> list[str]:
    """The capabilities of a container, in the kernel's order; `add` and `drop` hold `CAP_X` or `ALL`.

    From the default set, or from nothing with `ALL` dropped; then the adds, then the single drops.
    """
    chosen = set() if ALL in drop else set(DEFAULT)
    chosen |= set(NAMES) if ALL in add else set(add)
    chosen -= set(drop)
    return [name for name in NAMES if name in chosen]
