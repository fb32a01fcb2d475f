"""Signal names and numbers of Linux, as commands, image configurations and guests spell them (signal(7))."""

from container.errors import invalid_argument

_NAMES = [
    "HUP",
    "INT",
    "QUIT",
    "ILL",
    "TRAP",
    "ABRT",
    "BUS",
    "FPE",
    "KILL",
    "USR1",
    "SEGV",
    "USR2",
    "PIPE",
    "ALRM",
    "TERM",
    "STKFLT",
    "CHLD",
    "CONT",
    "STOP",
    "TSTP",
    "TTIN",
    "TTOU",
    "URG",
    "XCPU",
    "XFSZ",
    "VTALRM",
    "PROF",
    "WINCH",
    "IO",
    "PWR",
    "SYS",
]
_ALIASES = {"CLD": 17, "IOT": 6, "POLL": 29}
_RTMIN, _RTMAX = 34, 64


def parse_signal(text: str) -> int:
    """Number of a signal given as name (any case, `SIG` optional, `RTMIN+n`, `RTMAX-n`) or number from 1 to 64.

    Raises ContainerError(invalidArgument) `invalid signal: X`.
    """
    name = text.strip().upper().removeprefix("SIG")
    number = 0
    if name.isascii() and name.isdigit():
        number = int(name)
    elif name in _NAMES:
        number = _NAMES.index(name) + 1
    elif name in _ALIASES:
        number = _ALIASES[name]
    else:
        number = _realtime(name)
    if not 1 <= number <= _RTMAX:
        raise invalid_argument(f"invalid signal: {text}; expected a name, as TERM or SIGTERM, or a number")
    return number


def _realtime(name: str) -> int:
    base, rest = name[:5], name[5:]
    offset = int(rest[1:]) if rest[1:].isascii() and rest[1:].isdigit() else None
    if base == "RTMIN" and (not rest or (rest[0] == "+" and offset is not None)):
        number = _RTMIN + (offset or 0)
    elif base == "RTMAX" and (not rest or (rest[0] == "-" and offset is not None)):
        number = _RTMAX - (offset or 0)
    else:
        return 0
    return number if _RTMIN <= number <= _RTMAX else 0
