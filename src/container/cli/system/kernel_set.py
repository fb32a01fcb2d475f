"""`container system kernel set [options]`."""

from __future__ import annotations

import os
import tempfile

from container.cli import logger, progress
from container.cli.spec import Command, Option, Values, flag
from container.cli.system import kernel_archive
from container.cli.system.start import SOURCE, install_kernel
from container.cli.usage import UsageError
from container.errors import invalid_argument
from container.model import platform

ARCHITECTURES = ("amd64", "arm64")


def _check(values: Values) -> None:
    if values.recommended:
        return
    if values.binary is None:
        raise UsageError("missing argument '--binary'")
    if values.digest is not None and values.tar is None:
        raise UsageError("'--digest' can only be used with '--tar'")
    if values.tar is not None and kernel_archive.is_remote(values.tar) and values.digest is None:
        raise UsageError("'--digest' is required when '--tar' is a remote URL")


def run(values: Values) -> int:
    """Install a kernel as the default of its architecture."""
    _, architecture, _ = platform.normalise("linux", values.arch)
    if architecture not in ARCHITECTURES:
        raise invalid_argument(f"unsupported architecture {values.arch}; expected amd64 or arm64")
    call = {"architecture": architecture, "recommended": values.recommended, "force": values.force}
    if values.recommended:
        logger.info(f"Installing the recommended kernel from {SOURCE}...")
        install_kernel(call)
        return 0
    modules = None if values.modules is None else os.path.abspath(values.modules)
    if values.tar is None:
        install_kernel({**call, "binary": os.path.abspath(values.binary), "modules": modules})
        return 0
    digest = None if values.digest is None else kernel_archive.parse_digest(values.digest)
    with tempfile.TemporaryDirectory(prefix="container-kernel-") as directory:
        with progress.create("ansi") as display:
            binary = kernel_archive.fetch(values.tar, values.binary, digest, directory, display)
        install_kernel({**call, "binary": binary, "modules": modules})
    return 0


COMMAND = Command(
    "Set the default kernel",
    run,
    options=[
        Option("arch", "--arch", "Architecture of the kernel", value="arch", default=platform.host_architecture()),
        Option("binary", "--binary", "The kernel's file, or its path in the archive", value="path"),
        Option("tar", "--tar", "Archive that holds the kernel, a path or an http(s) URL", value="archive"),
        Option("digest", "--digest", "Digest of the archive, sha256:<hex>", value="digest"),
        Option("modules", "--modules", "Directory of the kernel's modules, /lib/modules/<release>", value="dir"),
        flag("force", "--force", "Replace an installed kernel of the same name"),
        flag("recommended", "--recommended", "Download and install the recommended kernel; wins over all others"),
    ],
    validate=_check,
)
