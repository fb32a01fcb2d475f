"""What verbs with ids and `--all` share (contract 2, standard pair): selection, and going on after a failure."""

from __future__ import annotations

from container.cli import failures, output
from container.cli.spec import Argument, Option, Values, flag
from container.errors import ContainerError, invalid_argument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

MACHINE = "machine"
PLUGIN_LABEL = "com.apple.container.plugin"


def ids_argument(help: str = "The containers", value: str = "container-ids") -> Argument:
    """The positional of a verb that takes any number of ids."""
    return Argument("ids", value, help, many=True, optional=True, default=[])


def all_option(help: str) -> Option:
    """`-a, --all`."""
    return flag("all", "-a, --all", help)


def check(values: Values, *, missing: str, conflict: str) -> list[str]:
    """The ids without repeats, for a call without `--all`.

    Raises ContainerError(invalidArgument) for neither ids nor `--all`, and for both.
    """
    if values.all and values.ids:
        raise invalid_argument(conflict)
    if not values.all and not values.ids:
        raise invalid_argument(missing)
    return list(dict.fromkeys(values.ids))


def containers(values: Values, conflict: str, *, all: bool) -> list[str]:
    """Ids of containers that a verb is about; `--all` means all but machines, with `all` False only running ones."""
    ids = check(values, missing="no containers specified and --all not supplied", conflict=conflict)
    if not values.all:
        return ids
    from container.cli import client

    return [str(each["id"]) for each in client.containers(all=all) if not is_machine(each)]


def is_machine(snapshot: dict[str, dict[str, dict[str, object]]]) -> bool:
    """Whether a container backs a machine."""
    return snapshot["configuration"]["labels"].get(PLUGIN_LABEL) == MACHINE


def each(ids: list[str], task: Callable[[str], None], failure: str, *, parallel: bool) -> int:
    """Run `task` for every id, print each id that succeeds at once, then raise all failures with `failure` on top."""
    errors: list[ContainerError] = []

    def attempt(id: str) -> None:
        try:
            task(id)
        except ContainerError as error:
            errors.append(failures.because(failure, error))
        else:
            output.line(id)

    if not parallel or len(ids) < 2:
        for id in ids:
            attempt(id)
    else:
        from threading import Thread

        threads = [Thread(target=attempt, args=(id,), daemon=True) for id in ids]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if errors:
        raise failures.Failures(errors)
    return 0
