"""`container system start [options]`."""

from __future__ import annotations

import os
import sys

from container import config
from container.cli import client, logger, output, progress
from container.cli.spec import Command, Option, Values, flag
from container.cli.usage import UsageError
from container.errors import ContainerError, ErrorCode, internal
from container.model import platform
from container.paths import APISERVER, Roots
from container.supervisor import launch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PROXIES = ("http_proxy", "https_proxy", "no_proxy")
PROMPT = "Install the recommended default kernel from [{source}]? [Y/n]: "
SOURCE = "the distribution's package archive"
ALREADY = "The system already runs."
OUTDATED = "Settings that changed since it started count after `container system stop` and `container system start`"
UNKNOWN = "It is not known whether virtual machines run with KVM: {reason}"
VERDICTS = {
    "kvm": "Virtual machines run with KVM: {reason}",
    "tcg": "Virtual machines are emulated here, without KVM: {reason}",
}
MOMENT = 1.0  # seconds of waiting that need no word
VERDICT_TIMEOUT = 45.0  # more than the test boot has
DECLINED = "Please use the `container system kernel set --recommended` command to configure the default kernel"


def _roots(values: Values) -> Roots:
    """The roots asked for; from here on also those of this process."""
    for name in ("app", "install", "log"):
        path = getattr(values, f"{name}_root")
        if path is not None:
            os.environ[f"CONTAINER_{name.upper()}_ROOT"] = os.path.abspath(path)
    return Roots.from_environment()


def _check(values: Values) -> None:
    try:
        seconds = float(values.timeout)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise UsageError(f"Invalid timeout value: {values.timeout}")


def run(values: Values) -> int:
    """Start the supervisor and the API server, wait until they serve, see to a kernel, tell of the accelerator."""
    roots = _roots(values)
    health = _running(roots)
    already = health is not None
    if health is None:
        config.install_user_config(roots)
        logger.info("Launching container-apiserver...")
        launch.ensure_running(roots)
        _register(roots)
        logger.info("Testing access to container-apiserver...")
        try:
            health = client.ping(float(values.timeout))
        except ContainerError as error:
            raise internal(f"failed to get a response from apiserver: {error.describe()}") from error
    if os.path.realpath(health["appRoot"]) != os.path.realpath(roots.app):
        text = f"the system already runs with the app root {health['appRoot']}; stop it first: container system stop"
        raise ContainerError(ErrorCode.INVALID_STATE, text)
    if already:
        logger.info(ALREADY)
        if config.is_outdated(roots):
            logger.info(f"{OUTDATED}: {roots.config}")
    if _provide_kernel(values.kernel_install):
        _tell_accelerator()
    return 0


def _running(roots: Roots) -> dict[str, Any] | None:
    """The health of a system that runs already."""
    return client.health() if launch.is_running(roots) else None


def _tell_accelerator() -> None:
    """Wait for the verdict, which may take a boot, and say what it means for the user."""
    health = _accelerator(MOMENT)
    if health is None:
        logger.info(f"Testing by a boot whether KVM works here, for {VERDICT_TIMEOUT:g} s at most...")
        health = _accelerator(VERDICT_TIMEOUT) or client.ping()
    verdict = VERDICTS.get(health["accelerator"], UNKNOWN).format(reason=health["acceleratorReason"])
    logger.info(health.get("acceleratorNotice") or verdict)


def _accelerator(timeout: float) -> dict[str, Any] | None:
    """The health with a verdict; None when there is none within `timeout` seconds."""
    try:
        health: dict[str, Any] = client.call("System.AwaitAccelerator", timeout=timeout)["health"]
    except ContainerError as error:
        if error.code is not ErrorCode.TIMEOUT:
            raise
        return None
    return health


def job(roots: Roots) -> dict[str, Any]:
    """The API server as a job of the supervisor, in JSON shape."""
    environment = {key: value for key, value in os.environ.items() if key.startswith("CONTAINER_")}
    for name in (*PROXIES, *(each.upper() for each in PROXIES)):
        if name in os.environ:
            environment[name] = os.environ[name]
    arguments = ["-P", "-m", "container.apiserver.main", "start", *(["--debug"] if logger.debugging() else [])]
    return {
        "label": APISERVER,
        "program": sys.executable,
        "arguments": arguments,
        "environment": {**environment, **roots.environment()},
        "sockets": [roots.socket(APISERVER)],
        "keepAlive": True,
        "runAtLoad": True,
        "logPath": os.path.join(roots.log, f"{APISERVER}.log"),
    }


def _register(roots: Roots) -> None:
    try:
        client.call("Supervisor.Register", {"job": job(roots)})
    except ContainerError as error:
        if error.code is not ErrorCode.EXISTS:
            raise
        logger.debug("container-apiserver is registered already, with other settings")


def _provide_kernel(wanted: bool | None) -> bool:
    """Whether there is a kernel in the end."""
    architecture = platform.host_architecture()
    if client.call("System.GetKernel", {"architecture": architecture}).get("kernel"):
        return True
    logger.info("No default kernel configured.")
    if wanted is None:
        wanted = _ask()
    if not wanted:
        output.line(DECLINED)
        return False
    logger.info("Installing kernel...")
    install_kernel({"architecture": architecture, "recommended": True, "force": False})
    return True


def _ask() -> bool:
    output.write(PROMPT.format(source=SOURCE))
    answer = sys.stdin.readline() if sys.stdin is not None else ""
    if not answer:
        raise internal(
            "cannot ask about the kernel: failed to read user input; "
            "give --enable-kernel-install or --disable-kernel-install"
        )
    return answer.strip().lower() in ("", "y")


def install_kernel(call: dict[str, Any]) -> None:
    """`System.SetKernel`, with its progress. Raises ContainerError."""
    with progress.create("ansi") as display:
        for reply in client.stream("System.SetKernel", call):
            display.update(reply["progress"])


COMMAND = Command(
    "Start the services",
    run,
    options=[
        Option("app_root", "-a, --app-root", "Directory of the system's data", value="dir"),
        Option("install_root", "--install-root", "Directory of plugins and the administrator's settings", value="dir"),
        Option("log_root", "--log-root", "Directory of the services' logs", value="dir"),
        flag(
            "kernel_install",
            "--enable-kernel-install",
            "Install the recommended kernel if there is none, without asking",
            default=None,
        ),
        flag(
            "kernel_install",
            "--disable-kernel-install",
            "Install no kernel, without asking",
            default=None,
            const=False,
        ),
        Option("timeout", "--timeout", "Seconds that the API server may take to answer", value="timeout", default="60"),
    ],
    validate=_check,
)
