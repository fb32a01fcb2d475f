"""What verbs with ids and `--all` share (contract 2, standard pair): selection, and going on after a failure."""

from __future__ import annotations

from container.cli import failures, logger, output
from container.cli.spec import Argument, Option, Values, flag
from container.errors import ContainerError, ErrorCode, invalid_argument, not_found
from container.model.ids import MACHINE, PLUGIN_LABEL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from container.cli.template import Template


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


def each(ids: list[str], task: Callable[[str], str], failure: str, *, parallel: bool) -> int:
    """Run `task` for every id and print the id that it returns, then raise all failures: `<failure> <id>: why`."""
    errors: list[ContainerError] = []

    def attempt(id: str) -> None:
        try:
            full = task(id)
        except ContainerError as error:
            errors.append(failures.because(f"{failure} {id}", error))
        else:
            output.line(full)

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


def pruned(kind: str, result: dict[str, Any]) -> int:
    """Print what a prune of `kind` removed and warn of what it could not; returns the bytes that are free again."""
    for name in result["deleted"]:
        output.line(name)
    for name in sorted(result["failed"]):
        logger.warning(f"failed to prune {kind} {name}: {result['failed'][name]}")
    return int(result.get("reclaimed", 0))


def reclaimed(size: int) -> None:
    """Say what a prune freed (contract 1.6)."""
    from container.cli import sizes

    output.error_line(f"Reclaimed {sizes.decimal(size)} in disk space")


def inspect(kind: str, known: list[dict[str, Any]], ids: list[str], format: Template | str) -> int:
    """Print those of `known` that `ids` name as a JSON array, in listing order; or with a template a line for each.

    Raises ContainerError(notFound).
    """
    found = [each for each in known if each["id"] in ids]
    missing = set(ids) - {each["id"] for each in found}
    if missing:
        hint = f"`{listing(kind)}` shows those that there are"
        raise not_found(f"{kind} not found: {', '.join(sorted(missing))}; {hint}")
    output.print_inspected(kind, found, format)
    return 0


def listing(kind: str) -> str:
    """The command that lists all of a kind."""
    return "container list --all" if kind == "container" else f"container {kind} list"


def delete_resources(
    kind: str,
    values: Values,
    known: Callable[[], list[dict[str, Any]]],
    task: Callable[[str], object],
    builtin: str | None = None,
) -> int:
    """Delete networks or volumes (`kind`) by name, and print the names of those that went; `builtin` is kept.

    `known` lists those that there are. Raises ContainerError for others before anything is deleted, and when a
    deletion failed.
    """
    names = check(
        values,
        missing=f"no {kind}s specified and --all not supplied",
        conflict=f"explicitly supplied {kind} name(s) conflict with the --all flag",
    )
    existing = [each["id"] for each in known()]
    if values.all:
        names = [name for name in existing if name != builtin]
    if builtin in names:
        raise invalid_argument(f"cannot delete a builtin {kind}: {builtin}")
    unknown = sorted(set(names) - set(existing))
    if unknown:
        text = f"failed to delete one or more {kind}s: {logger.quoted(unknown)}"
        hint = f"no such {kind}, so nothing was deleted; `{listing(kind)}` shows those that there are"
        raise ContainerError(ErrorCode.NOT_FOUND, text, not_found(hint))
    failed: dict[str, str] = {}
    for name in names:
        try:
            task(name)
        except ContainerError as error:
            failed[name] = error.describe()
        else:
            output.line(name)
    if failed:
        raise incomplete(f"delete failed for one or more {kind}s", failed)
    return 0


def incomplete(text: str, failed: dict[str, str]) -> ContainerError:
    """`text` with the names of what failed, then why, a line for each where there are several."""
    reasons = [failed[name] for name in sorted(failed)]
    why = f": {reasons[0]}" if len(reasons) == 1 else ":\n" + "\n".join(f"  {reason}" for reason in reasons)
    return ContainerError(ErrorCode.INTERNAL, f"{text}: {logger.quoted(sorted(failed))}{why}")
