"""Hard links to files of lower layers: such a file is taken up into the layer that links to it, under all its names.

An overlay shows one inode under two names only when both are in one layer. So the layer gets every name that the file
still has on top of the lower layers; content and metadata come from the layer that brought it.
"""

from collections import defaultdict

from container.oci.layertree import LayerTree
from container.oci.lower import Lower

Loan = dict[int, list[bytes]]  # by ordinal of a member: the names that it gets, sorted
Loans = dict[int, Loan]  # by layer


def lend(layer: LayerTree, below: Lower) -> Loans:
    """What a layer needs of those below it. Raises ContainerError(invalidArgument) for a hard link to nothing."""
    borrowed = {path: below.file(path, target) for path, target in layer.borrowed.items()}
    wanted = set(borrowed.values())
    kept = {path: file for path, file in below.files.items() if file in wanted and not layer.hides(path)}
    loans: Loans = defaultdict(dict)
    for path, file in sorted({**kept, **borrowed}.items()):
        loans[file.layer].setdefault(file.ordinal, []).append(path)
    return loans


def own(layer: LayerTree) -> Loan:
    """What a layer has itself, as a loan of its own members."""
    loan: Loan = {}
    for path, ordinal, _ in layer.files():
        loan.setdefault(ordinal, []).append(path)
    return loan
