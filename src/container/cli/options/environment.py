"""`--env` and `--env-file` (contract 1.9)."""

from __future__ import annotations

import os

from container.errors import ContainerError, ErrorCode, invalid_argument, os_reason


def environment(files: list[str], words: list[str]) -> list[str]:
    """`K=V` from the files in order, then from the command line; the last of a key wins."""
    entries = [entry for path in files for entry in read_file(path)]
    for word in words:
        if not word or word.startswith("="):
            raise invalid_argument(f"no variable name in '{word}'; expected key=value or key")
        entries += _entry(word)
    return entries


def _entry(word: str) -> list[str]:
    if "=" in word:
        return [word]
    return [f"{word}={os.environ[word]}"] if word in os.environ else []


def read_file(path: str) -> list[str]:
    """Entries of an env-file: `K=V` verbatim, bare `K` from the caller; blank lines and `#` comments are skipped."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        cause = ContainerError(ErrorCode.INTERNAL, os_reason(error))
        raise ContainerError(ErrorCode.INVALID_ARGUMENT, f"failed to read envfile at {path}", cause) from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise invalid_argument(f"env file {path} contains invalid utf8 bytes; save it as UTF-8") from error
    entries: list[str] = []
    for raw in text.split("\n"):
        line = raw.removesuffix("\r").lstrip(" \t")
        if line and not line.startswith("#"):
            entries += _file_entry(line, path)
    return entries


def _file_entry(line: str, path: str) -> list[str]:
    name = line.partition("=")[0]
    if "=" not in line:
        name = name.rstrip()
        line = name
    if not name:
        raise invalid_argument(f"failed to read env file {path}: no variable name on line '{line}'")
    if any(letter.isspace() for letter in name):
        raise invalid_argument(f"failed to read env file {path}: variable '{name}' contains whitespaces")
    return _entry(line)
