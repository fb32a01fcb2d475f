"""Bytes for people (contract 1.6)."""

DECIMAL = (
    ("EB", 10**18, 2),
    ("PB", 10**15, 2),
    ("TB", 10**12, 2),
    ("GB", 10**9, 2),
    ("MB", 10**6, 1),
    ("KB", 10**3, 0),
)
BINARY = (("TB", 1 << 40), ("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10))


def decimal(size: int, zero: str = "Zero KB") -> str:
    """`512 bytes`, `12 KB`, `3.4 MB`, `1.25 GB`: thousands, trailing zeros dropped; 0 is `zero`."""
    if size == 0:
        return zero
    if size < 1000:
        return "1 byte" if size == 1 else f"{size} bytes"
    for index, (unit, factor, digits) in enumerate(DECIMAL):
        if size < factor:
            continue
        number = round(size / factor, digits)
        if number >= 1000 and index:  # rounding reached the next unit
            unit, number = DECIMAL[index - 1][0], 1.0
        return f"{_trim(number, digits)} {unit}"
    raise AssertionError(size)


def binary(size: float) -> str:
    """`40 MB`, `12.5 MB`: powers of 1024 with one digit, as progress lines show them."""
    number, unit = _binary(size)
    return f"{number} {unit}"


def of(done: int, total: int) -> str:
    """`12.5 of 40 MB`, or `900 KB of 1.2 MB` when the units differ."""
    (number, unit), (whole, whole_unit) = _binary(done), _binary(total)
    return f"{number} of {whole} {whole_unit}" if unit == whole_unit else f"{number} {unit} of {whole} {whole_unit}"


def _binary(size: float) -> tuple[str, str]:
    for unit, factor in BINARY:
        if size >= factor:
            return _trim(size / factor, 1), unit
    return str(int(size)), "bytes"


def _trim(number: float, digits: int) -> str:
    text = f"{number:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def mebibytes(size: int) -> str:
    """`1024 MB`: whole MiB, as the MEMORY columns show it."""
    return f"{size >> 20} MB"
