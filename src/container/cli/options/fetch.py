"""How images come from registries and go there: `--scheme`, `--max-concurrent-downloads` (contract 1.10, 2.5)."""

from __future__ import annotations

from container.cli.spec import Option, Values, integer
from container.errors import invalid_argument

SCHEMES = ("auto", "http", "https")
SCHEME = Option(
    "scheme",
    "--scheme",
    "Scheme of the registry: http, https, auto",
    value="scheme",
    default="auto",
    group="REGISTRY OPTIONS",
)
DOWNLOADS = Option(
    "downloads",
    "--max-concurrent-downloads",
    "Most downloads at a time",
    value="count",
    default=3,
    parse=integer,
    group="IMAGE FETCH OPTIONS",
)


def check_scheme(values: Values) -> None:
    """Refuse a scheme that is none. Raises ContainerError(invalidArgument)."""
    if values.scheme not in SCHEMES:
        raise invalid_argument(f"unsupported scheme {values.scheme}; expected auto, http or https")


def check(values: Values) -> None:
    """Refuse bad values of both options. Raises ContainerError(invalidArgument)."""
    check_scheme(values)
    if values.downloads < 1:
        raise invalid_argument(f"maximum number of concurrent downloads must be greater than 0, got {values.downloads}")
