"""Names and labels of networks (contract 1.7). Pure functions."""

import re

from container.errors import invalid_argument

NONE = "none"
KEY_LENGTH, LABEL_LENGTH = 128, 4096
_RULE = "expected at most 63 lower-case letters, digits, `.`, `_` or `-`, a letter or digit at both ends"
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?")
_PART = r"[a-z0-9](?:[a-z0-9_-]*[a-z0-9])?"
_SEGMENT = rf"{_PART}(?:\.{_PART})*"
_KEY = re.compile(rf"{_SEGMENT}(?:/{_SEGMENT})*")


def check_name(name: str) -> None:
    """Raises ContainerError(invalidArgument)."""
    if name == NONE:
        raise invalid_argument(f"network {NONE} is not a valid name: the word stands for no network")
    if not _NAME.fullmatch(name):
        raise invalid_argument(f"invalid network name: {name}; {_RULE}")


def check_labels(labels: dict[str, str]) -> None:
    """Raises ContainerError(invalidArgument) with the contract's words for what is wrong."""
    for key, value in labels.items():
        if len(key) > KEY_LENGTH:
            raise invalid_argument(f"invalid label key {key}: over {KEY_LENGTH} characters (invalid_label_key_length)")
        if not _KEY.fullmatch(key):
            why = "expected lower-case words with dots between them (invalid_label_key_content)"
            raise invalid_argument(f"invalid label key {key}: {why}")
        if len(f"{key}={value}") > LABEL_LENGTH:
            raise invalid_argument(f"invalid label {key}: over {LABEL_LENGTH} characters (invalid_label_length)")
