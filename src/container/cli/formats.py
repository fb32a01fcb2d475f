"""YAML 1.2 and TOML 1.0 of JSON-like values: dictionaries, lists, strings, numbers, booleans."""

from __future__ import annotations

import json
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# A word that reads as the same string in YAML 1.1 and 1.2 whatever stands around it.
_PLAIN = re.compile(r"[A-Za-z_./][A-Za-z0-9_./@+=-]*(:[A-Za-z0-9_./@+=-]+)*")
_RESERVED = " y n yes no on off true false null none ~ . .. .inf .nan = << "
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def yaml(value: Any) -> str:
    """A YAML document in block style, keys in the order they come."""
    return "\n".join(_yaml_lines(value)) + "\n"


def _yaml_lines(value: Any) -> list[str]:
    if isinstance(value, dict) and value:
        lines: list[str] = []
        for key, item in value.items():
            lines += _yaml_entry(f"{_yaml_scalar(key)}:", item)
        return lines
    if isinstance(value, list) and value:
        lines = []
        for item in value:
            first, *rest = _yaml_lines(item)
            lines += [f"- {first}", *("  " + each for each in rest)]
        return lines
    return [_yaml_scalar(value)]


def _yaml_entry(key: str, item: Any) -> list[str]:
    if isinstance(item, dict | list) and item:
        indent = "" if isinstance(item, list) else "  "
        return [key, *(indent + each for each in _yaml_lines(item))]
    return [f"{key} {_yaml_scalar(item)}"]


def _yaml_scalar(value: Any) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value) and f" {value.lower()} " not in _RESERVED:
        return value
    return json.dumps(value, ensure_ascii=False)


def toml(value: Any) -> str:
    """A TOML document, keys sorted; a list is wrapped as `items`."""
    lines: list[str] = []
    _toml_table(value if isinstance(value, dict) else {"items": value}, (), lines)
    return "\n".join(lines).lstrip("\n") + "\n" if lines else ""


def _toml_table(table: dict[str, Any], path: tuple[str, ...], lines: list[str]) -> None:
    nested = []
    for key in sorted(table):
        value = table[key]
        if isinstance(value, dict) or _is_table_array(value):
            nested.append(key)
        else:
            lines.append(f"{_toml_key(key)} = {_toml_inline(value)}")
    for key in nested:
        inner = (*path, key)
        name = ".".join(_toml_key(part) for part in inner)
        value = table[key]
        if isinstance(value, dict):
            lines += ["", f"[{name}]"]
            _toml_table(value, inner, lines)
            continue
        for item in value:
            lines += ["", f"[[{name}]]"]
            _toml_table(item, inner, lines)


def _is_table_array(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def _toml_inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml_key(key)} = {_toml_inline(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_toml_inline(item) for item in value) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value)


def _toml_key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else json.dumps(key, ensure_ascii=False)
