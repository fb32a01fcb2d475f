"""The command table: names, aliases, groups and one-line descriptions; verbs are imported when they are called."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from container.cli.spec import Command


class Verb:
    """A command: its module below `container.cli` has a `COMMAND`."""

    __slots__ = ("abstract", "aliases", "module", "name")

    def __init__(self, name: str, module: str, abstract: str, *aliases: str) -> None:
        self.name = name
        self.module = module
        self.abstract = abstract
        self.aliases = aliases

    def load(self) -> Command:
        """Import the module and return its command."""
        command: Command = getattr(__import__(f"container.cli.{self.module}", fromlist=["COMMAND"]), "COMMAND")  # noqa: B009
        return command


class Noun:
    """A command that only has commands below it."""

    __slots__ = ("abstract", "aliases", "children", "name")

    def __init__(self, name: str, abstract: str, children: list[Verb | Noun], *aliases: str) -> None:
        self.name = name
        self.abstract = abstract
        self.children = children
        self.aliases = aliases

    def find(self, word: str) -> Verb | Noun | None:
        """The child of that name or alias."""
        return next((child for child in self.children if word == child.name or word in child.aliases), None)


IMAGE = Noun(
    "image",
    "Manage images",
    [
        Verb("delete", "image.delete", "Delete images", "rm"),
        Verb("inspect", "image.inspect", "Show everything that is known of images"),
        Verb("list", "image.list", "List images", "ls"),
        Verb("load", "image.load", "Load images from an archive"),
        Verb("prune", "image.prune", "Remove images that nothing uses"),
        Verb("pull", "image.pull", "Fetch an image from a registry"),
        Verb("push", "image.push", "Send an image to a registry"),
        Verb("save", "image.save", "Save images to an archive"),
        Verb("tag", "image.tag", "Give an image another name"),
    ],
    "i",
)

NETWORK = Noun(
    "network",
    "Manage networks",
    [
        Verb("create", "network.create", "Create a network"),
        Verb("delete", "network.delete", "Delete networks", "rm"),
        Verb("inspect", "network.inspect", "Show everything that is known of networks"),
        Verb("list", "network.list", "List networks", "ls"),
        Verb("prune", "network.prune", "Delete networks that no container refers to"),
    ],
    "n",
)

REGISTRY = Noun(
    "registry",
    "Manage logins to registries",
    [
        Verb("list", "registry.list", "List the registries that you are logged in to", "ls"),
        Verb("login", "registry.login", "Log in to a registry"),
        Verb("logout", "registry.logout", "Log out from a registry"),
    ],
    "r",
)

SYSTEM = Noun(
    "system",
    "Manage the services of the system",
    [
        Verb("df", "system.df", "Show what is on disk and how much of it is unused"),
        Noun("kernel", "Manage the guest kernel", [Verb("set", "system.kernel_set", "Set the default kernel")]),
        Verb("logs", "system.logs", "Show the log of the services"),
        Noun(
            "property",
            "Show the configuration",
            [Verb("list", "system.property_list", "Show the configuration in force", "ls")],
        ),
        Verb("prune", "system.prune", "Remove what nothing uses: containers, networks, images, caches, logs"),
        Verb("start", "system.start", "Start the services"),
        Verb("status", "system.status", "Show whether the services run"),
        Verb("stop", "system.stop", "Stop all containers and the services"),
        Verb("uninstall", "system.uninstall", "Remove the system with all its containers, images and volumes"),
        Verb("version", "system.version", "Show the versions of the client and of the services"),
    ],
    "s",
)

VOLUME = Noun(
    "volume",
    "Manage volumes",
    [
        Verb("create", "volume.create", "Create a volume"),
        Verb("delete", "volume.delete", "Delete volumes", "rm"),
        Verb("inspect", "volume.inspect", "Show everything that is known of volumes"),
        Verb("list", "volume.list", "List volumes", "ls"),
        Verb("prune", "volume.prune", "Delete volumes that no container refers to"),
    ],
    "v",
)

GROUPS: list[tuple[str, list[Verb | Noun]]] = [
    (
        "CONTAINER",
        [
            Verb("commit", "container.commit", "Make an image of what a container changed"),
            Verb("copy", "container.copy", "Copy files between a container and the host", "cp"),
            Verb("create", "container.create", "Create a container"),
            Verb("delete", "container.delete", "Delete containers", "rm"),
            Verb("diff", "container.diff", "Show what a container changed of its image"),
            Verb("exec", "container.exec", "Run a further process in a running container"),
            Verb("export", "container.export", "Write a container's file system to an archive"),
            Verb("inspect", "container.inspect", "Show everything that is known of containers"),
            Verb("kill", "container.kill", "Send a signal to containers"),
            Verb("list", "container.list", "List containers", "ls"),
            Verb("logs", "container.logs", "Show the output of a container"),
            Verb("port", "container.port", "Show the published ports of a container"),
            Verb("prune", "container.prune", "Delete all stopped containers"),
            Verb("run", "container.run", "Create and start a container"),
            Verb("start", "container.start", "Start a container"),
            Verb("stop", "container.stop", "Stop containers"),
        ],
    ),
    ("IMAGE", [IMAGE, REGISTRY]),
    ("VOLUME", [VOLUME]),
    ("OTHER", [NETWORK, SYSTEM]),
]

ROOT = Noun(
    "container",
    "Linux containers, each in its own lightweight virtual machine",
    [*(child for _, children in GROUPS for child in children), Verb("help", "help_command", "Show help for a command")],
)
HIDDEN = frozenset({"help"})
