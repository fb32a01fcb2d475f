"""What may stand where on a command line, for all shells: from the tables that the parser reads."""

from __future__ import annotations

from container.cli import aliases, commands
from container.cli.commands import Noun, Verb
from container.cli.spec import DEBUG, HELP, VERSION, Argument, Option

# Kinds of words, and the commands that list those of a kind.
NAMES = {
    "container": "list --all --quiet",
    "running": "list --quiet",
    "image": "image list --quiet",
    "network": "network list --quiet",
    "volume": "volume list --quiet",
}
FILE, NOTHING = "file", "nothing"
CONTAINER_PATH, VOLUME_PATH = "container-path", "volume-path"  # a name and a colon, or a file
WORDS = "words "  # and then the words themselves

# By what an option or a positional calls its value.
_KINDS = {
    "container-id": "container",
    "container-ids": "container",
    "image": "image",
    "images": "image",
    "network": "network",
    "networks": "network",
    "volume": VOLUME_PATH,
    "volumes": "volume",
    "path": FILE,
    "file": FILE,
    "env-file": FILE,
    "arguments": FILE,
}
_EXCEPTIONS = {
    ("container copy", "source"): CONTAINER_PATH,
    ("container copy", "destination"): CONTAINER_PATH,
    ("container exec", "container-id"): "running",
    ("container kill", "container-ids"): "running",
    ("container stop", "container-ids"): "running",
    ("container image list", "name"): "image",
    ("container image push", "reference"): "image",
    ("container image tag", "source"): "image",
    ("container image tag", "target"): "image",
    ("container network create", "network"): NOTHING,
}


class Tables:
    """`steps`: `path word` → the path after it. `values`: `path --option` → kind of its value. `options` and
    `commands`: path → the words offered. `places`: path → kinds of its positionals, and whether the last repeats.
    `passthrough`: the paths whose further words belong to a program.
    """

    def __init__(self) -> None:
        self.steps: dict[str, str] = {}
        self.values: dict[str, str] = {}
        self.options: dict[str, list[tuple[str, str]]] = {}
        self.commands: dict[str, list[tuple[str, str]]] = {}
        self.places: dict[str, tuple[list[str], bool]] = {}
        self.passthrough: list[str] = []
        self._add("container", commands.ROOT)
        for words, meaning in aliases.MEANINGS.items():
            self.steps[f"container {words}"] = f"container {meaning}".rstrip()

    def _add(self, path: str, node: Verb | Noun) -> None:
        options = _options(node)
        self.options[path] = [(name, option.help) for option in options if not option.hidden for name in option.names]
        for option in options:
            if option.value:
                self.values.update((f"{path} {name}", _kind(path, option)) for name in (*option.names, *option.also))
        if isinstance(node, Noun):
            shown = [child for child in node.children if child.name not in commands.HIDDEN]
            self.commands[path] = [(child.name, child.abstract) for child in shown]
            for child in shown:
                self.steps.update((f"{path} {name}", f"{path} {child.name}") for name in (child.name, *child.aliases))
                self._add(f"{path} {child.name}", child)
            return
        command = node.load()
        kinds = [_kind(path, argument) for argument in command.arguments]
        self.places[path] = kinds, bool(command.arguments) and command.arguments[-1].many
        if command.passthrough:
            self.passthrough.append(path)


def _options(node: Verb | Noun) -> list[Option]:
    if isinstance(node, Verb):
        return [*node.load().options, HELP]
    return [DEBUG, HELP, VERSION] if node is commands.ROOT else [DEBUG, HELP]


def _kind(path: str, item: Option | Argument) -> str:
    if isinstance(item, Option) and item.choices:
        return WORDS + " ".join(item.choices)
    name = item.value or ""
    return _EXCEPTIONS.get((path, name)) or _KINDS.get(name, NOTHING)
