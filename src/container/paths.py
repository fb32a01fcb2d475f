"""Where things live: the roots of one system, and the socket of each service in it."""

import os
import stat
import sys

APISERVER = "io.container.apiserver"
SUPERVISOR = "io.container.supervisor"
IMAGES = "io.container.core.container-core-images"
NETWORK_PREFIX = "io.container.network."
RUNTIME_PREFIX = "io.container.runtime."
SUN_PATH_MAX = 107
SOCKETS_RECORD = "sockets.json"  # in a bundle: sockets of the host that a run published


def usual_app_root() -> str:
    """Where this user's system has its data, unless it is told otherwise."""
    if os.getuid() == 0:
        return "/var/lib/container"
    data = os.environ.get("XDG_DATA_HOME") or os.path.join(os.path.expanduser("~"), ".local/share")
    return os.path.join(data, "container")


def usual_run_root() -> str:
    """Where this user's sockets are, unless it is told otherwise: in a directory that only this user may change.

    In /tmp, where anybody could make it first, only when there is no other; and when a system of ours runs there.
    """
    uid = os.getuid()
    if uid == 0:
        return "/run/container"
    runtimes = [os.environ.get("XDG_RUNTIME_DIR"), f"/run/user/{uid}"]
    found = [os.path.join(path, "container") for path in runtimes if path and _is_own_directory(path)]
    last = f"/tmp/container-{uid}"
    if not found or (_is_own_directory(last) and os.path.exists(os.path.join(last, SUPERVISOR))):
        return last
    return found[0]


def _is_own_directory(path: str) -> bool:
    try:
        status = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()


def network_service(plugin: str, network: str) -> str:
    """Service name of the helper of one network."""
    return f"{NETWORK_PREFIX}{plugin}.{network}"


def runtime_service(plugin: str, container: str) -> str:
    """Service name of the runtime helper of one container."""
    return f"{RUNTIME_PREFIX}{plugin}.{container}"


class Roots:
    """The directories of one system; two systems with different roots live side by side.

    `CONTAINER_APP_ROOT`, `CONTAINER_RUN_ROOT`, `CONTAINER_INSTALL_ROOT`, `CONTAINER_LOG_ROOT` win over the defaults.
    """

    def __init__(self, app: str, run: str, install: str, log: str, config: str) -> None:
        self.app = app  # records, images, bundles
        self.run = run  # sockets, pid files; gone after a reboot
        self.install = install  # libexec/container/plugins, libexec/container-plugins, etc/container
        self.log = log  # one file per service
        self.config = config  # the user's config.toml

    @classmethod
    def from_environment(cls) -> "Roots":
        """The roots that this process's environment and user imply."""
        env = os.environ
        home = os.path.expanduser("~")
        app = env.get("CONTAINER_APP_ROOT") or usual_app_root()
        install = env.get("CONTAINER_INSTALL_ROOT") or sys.prefix
        config_home = env.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")
        return cls(
            app=app,
            run=env.get("CONTAINER_RUN_ROOT") or usual_run_root(),
            install=install,
            log=env.get("CONTAINER_LOG_ROOT") or os.path.join(app, "logs"),
            config=os.path.join(config_home, "container", "config.toml"),
        )

    def environment(self) -> dict[str, str]:
        """The variables that give a child process these roots."""
        return {
            "CONTAINER_APP_ROOT": self.app,
            "CONTAINER_RUN_ROOT": self.run,
            "CONTAINER_INSTALL_ROOT": self.install,
            "CONTAINER_LOG_ROOT": self.log,
        }

    def socket(self, service: str) -> str:
        """Path of a service's socket; may be longer than a sun_path (see `ipc`)."""
        return os.path.join(self.run, service)

    def bundle(self, container: str) -> str:
        """Directory of one container."""
        return os.path.join(self.app, "containers", container)
