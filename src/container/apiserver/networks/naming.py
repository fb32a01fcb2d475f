"""Names and labels of networks (contract 1.7). Pure functions."""

import re

from container.errors import invalid_argument

NONE = "none"
KEY_LENGTH, LABEL_LENGTH = 128, 4096
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?")
_PART = r"[a-z0-9](?:[a-z0-9_-]*[a-z0-9])?"
_SEGMENT = rf"{_PART}(?:\.{_PART})*"
_KEY = re.compile(rf"{_SEGMENT}(?:/{_SEGMENT})*")


def check_name(name: str) -> None:
    """Raises ContainerError(invalidArgument)."""
    if name == NONE:
        raise invalid_argument(f"network {NONE} is not a valid name")
    if not _NAME.fullmatch(name):
        raise invalid_argument(f"invalid network name: {name}")


def check_labels(labels: dict[str, str]) -> None:
    """Raises ContainerError(invalidArgument) with the contract's words for what is wrong."""
    for key, value in labels.items():
        if len(key) > KEY_LENGTH:
            raise invalid_argument(f"invalid label key {key}: invalid_label_key_length")
        if not _KEY.fullmatch(key):
            raise invalid_argument(f"invalid label key {key}: invalid_label_key_content")
        if len(f"{key}={value}") > LABEL_LENGTH:
            raise invalid_argument(f"invalid label {key}: invalid_label_length")
