"""`container system prune [-a] [--volumes] [-f]`."""

from __future__ import annotations

from container.cli import client, logger, many
from container.cli.container import prune as containers
from container.cli.image import prune as images
from container.cli.network import prune as networks
from container.cli.spec import Command, Values, flag
from container.cli.system import question
from container.cli.volume import prune as volumes

ALWAYS = (
    "all stopped containers",
    "all networks that no container refers to",
    "caches, which are made again when they are needed (the next starts take longer)",
    "kernels that are not the default, unless a container has a kernel of its own",
    "logs of services that do not run any more, and the former part of the others'",
)


def run(values: Values) -> int:
    """Say what goes, ask, and remove it; the order makes free what the next step then finds unused."""
    going = [*ALWAYS[:2], "all images that no container uses" if values.all else "images without a tag", *ALWAYS[2:]]
    if values.volumes:
        going.append("all volumes that no container refers to, with what is in them")
    client.ping()  # before anything is asked
    if not values.force and not question.ask(["This will remove:", *(f"  - {each}" for each in going)]):
        logger.info("Nothing was removed.")
        return 0
    freed = containers.remove()
    networks.remove()
    freed += volumes.remove() if values.volumes else 0
    freed += images.remove(every=values.all)
    freed += many.pruned("file", client.call("System.Prune")["result"])
    many.reclaimed(freed)
    return 0


COMMAND = Command(
    "Remove what nothing uses: containers, networks, images, caches, logs",
    run,
    options=[
        flag("all", "-a, --all", "Remove all images that no container uses, not only those without a tag"),
        flag("volumes", "--volumes", "Remove volumes that no container refers to, too"),
        flag("force", "-f, --force", "Do not ask"),
    ],
)
