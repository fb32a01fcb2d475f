"""Words that people bring along from docker and elsewhere: what they mean here, or what comes nearest.

They are not shown in the help; `docs/reference/words.md` lists them.
"""

from __future__ import annotations

from container.cli import commands
from container.cli.usage import UsageError, edit_distance, unexpected_arguments, unknown_option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

MEANINGS = {
    "container": "",
    "images": "image list",
    "info": "system status",
    "load": "image load",
    "login": "registry login",
    "logout": "registry logout",
    "ps": "list",
    "pull": "image pull",
    "push": "image push",
    "rmi": "image delete",
    "save": "image save",
    "system info": "system status",
    "tag": "image tag",
    "version": "system version",
}

_BUILD = "build the image elsewhere, and bring it in with `container image load` or `container image pull`"
_MACHINE = "`container run -it IMAGE` starts a container, which has a virtual machine of its own"
_PAUSE = "`container stop` and `container start` come nearest"
_CONNECT = "the networks of a container are chosen with --network when it is created"
_HISTORY = "`container image inspect` shows what is known of how an image was made"

NEAREST = {
    "attach": "`container logs --follow` shows the output, and `container exec -it ID sh` opens a shell",
    "build": _BUILD,
    "builder": _BUILD,
    "buildx": _BUILD,
    "compose": "start each container with `container run`, on a network of `container network create`",
    "events": "`container list --all` shows the states, and `container system logs` what the services did",
    "history": _HISTORY,
    "image build": _BUILD,
    "image history": _HISTORY,
    "image import": "`container image load` reads images from OCI and docker archives",
    "import": "`container image load` reads images from OCI and docker archives",
    "machine": _MACHINE,
    "network connect": _CONNECT,
    "network disconnect": _CONNECT,
    "pause": _PAUSE,
    "rename": "a container has the name that `--name` gave it; `container create --name` makes another one",
    "restart": "`container stop ID` and then `container start ID` do the same",
    "search": "`container image pull` fetches an image whose name is known",
    "stats": "`container exec ID top` shows what its processes use",
    "system dns": "containers of a network find each other by name",
    "system events": "`container system logs` shows what the services did",
    "top": "`container exec ID ps` shows the processes, if the image has `ps`",
    "unpause": _PAUSE,
    "update": "CPUs and memory are chosen with --cpus and --memory when a container is created",
    "wait": "`container start --attach ID` waits for the end and has the exit code of the process",
}

# Other words for a command, which no spelling leads to.
SYNONYMS = {
    "bash": "exec",
    "containers": "list",
    "del": "delete",
    "destroy": "delete",
    "enter": "exec",
    "log": "logs",
    "networks": "network list",
    "remove": "delete",
    "sh": "exec",
    "shell": "exec",
    "show": "inspect",
    "ssh": "exec",
    "status": "system status",
    "terminate": "stop",
    "volumes": "volume list",
}


def run(words: list[str], execute: Callable[[list[str]], int]) -> int:
    """What does not begin with a command of ours: `execute` what it means, or become the plugin of that name.

    Raises UsageError when it is neither.
    """
    if (meant := meaning(words)) is not None:
        return execute(meant)
    from container.cli import plugin

    return plugin.become(words)


def run_below(path: str, noun: commands.Noun, words: list[str], execute: Callable[[list[str]], int]) -> int:
    """The same for what comes after a command that has commands, without plugins."""
    before = path.split()[1:]
    if (meant := meaning([*before, *words])) is not None:
        return execute(meant)
    error = unknown_option(words[0], []) if words[0].startswith("-") else absent([*before, words[0]])
    if error is None:
        error = unexpected_arguments(words)
        error.message += suggestion(path, words[0], noun)
    raise error.at(path, f"{path} [--debug] <subcommand>")


def meaning(words: list[str]) -> list[str] | None:
    """The command line in our words, for one whose first word, or first two, are an alias; else None."""
    for count in (2, 1):
        known = MEANINGS.get(" ".join(words[:count]))
        if known is not None and len(words) >= count:
            return [*known.split(), *words[count:]]
    return None


def absent(path: list[str]) -> UsageError | None:
    """Why a command is not here and what comes nearest, for one that people may look for (`image build`)."""
    typed = " ".join(path)
    nearest = NEAREST.get(typed)
    return UsageError(f"'container {typed}' is not here: {nearest}") if nearest else None


def suggestion(path: str, word: str, noun: commands.Noun) -> str:
    """`. Did you mean 'container list'?` for a word below a command, or nothing. `path` is that of the command."""
    if noun is commands.ROOT and word in SYNONYMS:
        return f". Did you mean 'container {SYNONYMS[word]}'?"
    known = {name: child.name for child in noun.children for name in (child.name, *child.aliases)}
    if noun is commands.ROOT:
        known.update((name, name) for name in MEANINGS if " " not in name)
    distance, name = min((edit_distance(word, each), each) for each in known)
    return f". Did you mean '{path} {known[name]}'?" if distance <= (1 if len(word) < 4 else 2) else ""
