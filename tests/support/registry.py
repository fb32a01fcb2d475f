"""Debian's docker-registry on loopback, plain or with logins and TLS of an own CA, and skopeo to talk to it."""

import contextlib
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from support import images, ports

PROGRAM = shutil.which("docker-registry") or str(images.CACHE.parent / "programs" / "docker-registry")
USER, PASSWORD = "ann", "s3cret pass"


@dataclass
class Registry:
    """A running registry; `host` is `name:port` as references write it."""

    host: str
    storage: Path
    process: "subprocess.Popen[bytes]"
    ca: Path | None = None
    login: bool = False
    log: Path = field(default_factory=Path)
    prefix: Sequence[str] = ()

    def skopeo(self, *arguments: str, side: str = "", timeout: float = 120) -> str:
        """Run `skopeo ARGUMENTS…` with what this registry needs; `side` is `src-` or `dest-` for `copy`."""
        options = [f"--{side}tls-verify={'true' if self.ca else 'false'}"]
        if self.ca:
            options.append(f"--{side}cert-dir={self.ca.parent}")
        if self.login:
            options.append(f"--{side}creds={USER}:{PASSWORD}")
        verb, *rest = arguments
        command = [*self.prefix, "skopeo", "--insecure-policy", verb, *options, *rest]
        result = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
        assert result.returncode == 0, f"{command}: {result.stderr}"
        return result.stdout

    def push(self, source: str, name: str, *options: str) -> str:
        """Have skopeo push `source` (a transport and path) as `name`; returns the reference."""
        transport, _, path = source.partition(":")
        with tempfile.TemporaryDirectory() as layout:
            if transport == "oci-archive":  # skopeo would unpack it with its owners, which only root can
                subprocess.run(["tar", "-x", "--no-same-owner", "-f", path, "-C", layout], check=True)
                source = f"oci:{layout}"
            self.skopeo("copy", *options, source, f"docker://{self.host}/{name}", side="dest-")
        return f"{self.host}/{name}"

    def fetch(self, name: str, target: Path, *options: str) -> None:
        """Have skopeo copy `name` into the OCI layout `target` under the tag `x`."""
        self.skopeo("copy", *options, f"docker://{self.host}/{name}", f"oci:{target}:x", side="src-")

    def digest(self, name: str) -> str:
        """Digest of what a tag means, as skopeo sees it."""
        return f"sha256:{self._raw_digest(name)}"

    def _raw_digest(self, name: str) -> str:
        import hashlib

        return hashlib.sha256(self.skopeo("inspect", "--raw", f"docker://{self.host}/{name}").encode()).hexdigest()


@contextmanager
def running(
    base: Path,
    *,
    login: bool = False,
    tls: bool = False,
    port: int | None = None,
    prefix: Sequence[str] = (),
    names: Sequence[str] = (),
) -> Iterator[Registry]:
    """A registry that keeps what it has below `base`; stopped at the end. It has `USER` when `login` is set.

    `prefix` is an argv that runs a program elsewhere, such as in another network namespace; `names` are further
    names that its certificate is for.
    """
    base.mkdir(parents=True, exist_ok=True)
    port = port or ports.reserve()
    config = [
        "version: 0.1",
        "log: {level: warn, accesslog: {disabled: false}}",
        f"storage: {{filesystem: {{rootdirectory: {base / 'storage'}}}, delete: {{enabled: true}}}}",
        "http:",
        f"  addr: 127.0.0.1:{port}",
    ]
    ca = None
    if tls:
        ca = certificates(base / "tls", *names)
        config.append(f"  tls: {{certificate: {ca.parent / 'server.pem'}, key: {ca.parent / 'server.key'}}}")
        ca = ca.parent / "trusted" / "ca.crt"
    if login:
        config.append(f"auth: {{htpasswd: {{realm: test, path: {htpasswd(base / 'htpasswd')}}}}}")
    (base / "config.yml").write_text("\n".join(config) + "\n")
    with (base / "log").open("ab") as log:
        process = subprocess.Popen([*prefix, PROGRAM, "serve", base / "config.yml"], stdout=log, stderr=log)
    try:
        _wait(port, process, prefix)
        yield Registry(f"localhost:{port}", base / "storage", process, ca, login, base / "log", prefix)
    finally:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
        process.kill()
        process.wait()


def htpasswd(path: Path) -> Path:
    """A password file with `USER`; bcrypt, the only kind that the registry takes."""
    made = subprocess.run(["htpasswd", "-Bbn", "-C", "4", USER, PASSWORD], check=True, capture_output=True)
    path.write_bytes(made.stdout)
    return path


def certificates(directory: Path, *names: str) -> Path:
    """A CA of its own and a certificate for loopback and `names` signed by it: `ca.pem`, `server.pem`, `server.key`."""
    trusted = directory / "trusted"  # skopeo takes each *.crt of a directory for a CA
    trusted.mkdir(parents=True, exist_ok=True)
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    extensions = directory / "extensions"
    subjects = ",".join(["IP:127.0.0.1", *(f"DNS:{name}" for name in ("localhost", *names))])
    extensions.write_text(f"subjectAltName={subjects}\nbasicConstraints=CA:FALSE\n")
    signed = ["-out", "server.pem", "-days", "2", "-extfile", str(extensions)]
    for command in (
        ["req", "-x509", *new_key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test CA", "-days", "2"],
        ["req", *new_key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=localhost"],
        ["x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", *signed],
    ):
        subprocess.run(["openssl", *command], cwd=directory, check=True, capture_output=True)
    shutil.copy(directory / "ca.pem", trusted / "ca.crt")
    for path in (directory, trusted, trusted / "ca.crt"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return directory / "ca.pem"


def _wait(port: int, process: "subprocess.Popen[bytes]", prefix: Sequence[str]) -> None:
    deadline = time.monotonic() + 60
    connect = [*prefix, "bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{port}"]
    while time.monotonic() < deadline:
        assert process.poll() is None, "the registry ended"
        if subprocess.run(connect, stderr=subprocess.DEVNULL, check=False).returncode == 0:
            return
        time.sleep(0.05)
    raise AssertionError("the registry does not answer")
