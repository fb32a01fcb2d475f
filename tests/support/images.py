"""Real images made on the spot: `python tests/support/images.py busybox|debian|postgresql` prints the archive's path.

busybox  the distribution's static busybox with its applets as links; under two seconds
debian   the distribution this host runs, with nginx, redis, python3 and curl, by mmdebstrap; a minute or two
postgresql  the same distribution with PostgreSQL; a minute or two

Archives are OCI layouts in a tar, cached below `.cache/images` by the hash of their recipe.
"""

import argparse
import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

CACHE = Path(os.environ.get("CONTAINER_TEST_CACHE", Path(__file__).parents[2] / ".cache")) / "images"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEBIAN_PACKAGES = "nginx-light,redis-server,redis-tools,python3-minimal,libpython3-stdlib,curl,procps,iproute2"
POSTGRESQL_PACKAGES = "postgresql,procps"
NGINX_PAGE = "<!doctype html><title>container</title><h1>Served by nginx from its own virtual machine</h1>\n"


def architecture() -> str:
    """This machine's architecture, in OCI's spelling."""
    return ARCHITECTURES[os.uname().machine]


def write_archive(target: Path, tag: str, layers: list[bytes | Path], config: dict[str, Any]) -> Path:
    """Write an OCI layout tar with one gzip layer per uncompressed tar in `layers`; `config` is the `config` object."""
    blobs: dict[str, bytes] = {}

    def put(data: bytes, media_type: str) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        blobs[digest] = data
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    raw = [layer if isinstance(layer, bytes) else layer.read_bytes() for layer in layers]
    descriptors = [
        put(gzip.compress(data, compresslevel=1, mtime=0), "application/vnd.oci.image.layer.v1.tar+gzip")
        for data in raw
    ]
    image = {
        "architecture": architecture(),
        "os": "linux",
        "created": "2026-01-01T00:00:00Z",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(data).hexdigest()}" for data in raw]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": put(json.dumps(image).encode(), "application/vnd.oci.image.config.v1+json"),
        "layers": descriptors,
    }
    descriptor = put(json.dumps(manifest).encode(), str(manifest["mediaType"]))
    descriptor["annotations"] = {"org.opencontainers.image.ref.name": tag}
    index = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [descriptor],
    }
    members = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": json.dumps(index).encode()}
    members |= {f"blobs/sha256/{digest}": data for digest, data in blobs.items()}
    with _beside(target) as beside, tarfile.open(beside, "w") as archive:
        for name, data in members.items():
            add_file(archive, name, data)
    return target


def add_file(archive: tarfile.TarFile, name: str, data: bytes, mode: int = 0o644, **fields: Any) -> None:
    """Add a regular file owned by root."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), mode
    for field, value in fields.items():
        setattr(info, field, value)
    archive.addfile(info, io.BytesIO(data))


def add_entry(archive: tarfile.TarFile, name: str, kind: bytes, mode: int = 0o755, linkname: str = "") -> None:
    """Add an entry without content: a directory, a link, a device."""
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.linkname = kind, mode, linkname
    archive.addfile(info)


def busybox(tag: str = "docker.io/library/busybox:latest") -> Path:
    """The busybox image."""
    program = Path("/bin/busybox").read_bytes()
    return _cached(
        "busybox",
        [tag, program],
        lambda target: write_archive(
            target,
            tag,
            [_busybox_tree(program)],
            {
                "Env": [PATH],
                "Cmd": ["sh"],
            },
        ),
    )


def _busybox_tree(program: bytes) -> bytes:
    applets = subprocess.run(["/bin/busybox", "--list"], check=True, capture_output=True, text=True).stdout.split()
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tree:
        for name in ("bin", "dev", "etc", "home", "proc", "root", "run", "sys", "usr", "usr/bin", "var"):
            add_entry(tree, name, tarfile.DIRTYPE)
        add_entry(tree, "tmp", tarfile.DIRTYPE, mode=0o1777)
        add_file(tree, "bin/busybox", program, mode=0o755)
        for applet in sorted(set(applets) - {"busybox"}):
            add_entry(tree, f"bin/{applet}", tarfile.SYMTYPE, mode=0o777, linkname="busybox")
        add_file(tree, "etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n")
        add_file(tree, "etc/group", b"root:x:0:\nstaff:x:50:nobody\nnogroup:x:65534:\n")
    return stream.getvalue()


def debian(tag: str = "docker.io/library/nginx:debian") -> Path:
    """The Debian image with nginx (its default process), redis, python3 and curl."""
    recipe = [tag, DEBIAN_PACKAGES, NGINX_PAGE, Path("/etc/debian_version").read_text(), "2"]
    return _cached("debian", recipe, lambda target: _debian_archive(target, tag))


def _debian_archive(target: Path, tag: str) -> Path:
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch, "rootfs.tar")
        page = Path(scratch, "index.html")
        page.write_text(NGINX_PAGE)
        hooks = [f"upload {page} /var/www/html/index.html", 'rm -f "$1"/var/www/html/index.nginx-debian.html']
        _mmdebstrap(tree, DEBIAN_PACKAGES, hooks)
        return write_archive(
            target,
            tag,
            [tree],
            {
                "Env": [PATH],
                "Cmd": ["nginx", "-g", "daemon off;"],
                "ExposedPorts": {"80/tcp": {}},
                "StopSignal": "SIGQUIT",
            },
        )


def postgresql(tag: str = "docker.io/library/postgresql:debian") -> Path:
    """Debian with PostgreSQL and no cluster made."""
    recipe = [tag, POSTGRESQL_PACKAGES, Path("/etc/debian_version").read_text()]
    return _cached("postgresql", recipe, lambda target: _postgresql_archive(target, tag))


def _postgresql_archive(target: Path, tag: str) -> Path:
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch, "rootfs.tar")
        _mmdebstrap(tree, POSTGRESQL_PACKAGES, ['rm -rf "$1"/var/lib/postgresql/*/main "$1"/etc/postgresql/*'])
        return write_archive(target, tag, [tree], {"Env": [PATH], "Cmd": ["sh"]})


def _mmdebstrap(tree: Path, packages: str, hooks: list[str]) -> None:
    suite = _os_release()["VERSION_CODENAME"]
    command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={packages}"]
    command += ["--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/locale/*"]
    command += [f"--customize-hook={hook}" for hook in hooks]
    sources = [
        path
        for path in (Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*")))
        if path.is_file() and path.suffix in {".list", ".sources"} and path.stat().st_size
    ]
    subprocess.run([*command, suite, str(tree), *map(str, sources)], check=True)


def _os_release() -> dict[str, str]:
    lines = Path("/etc/os-release").read_text().splitlines()
    return {key: value.strip('"') for key, _, value in (line.partition("=") for line in lines)}


def _cached(name: str, recipe: list[str | bytes], make: Callable[[Path], Path]) -> Path:
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for part in recipe:
        digest.update(part if isinstance(part, bytes) else part.encode())
    target = CACHE / f"{name}-{digest.hexdigest()[:16]}.tar"
    return target if target.exists() else make(target)


@contextmanager
def _beside(target: Path) -> Iterator[IO[bytes] | Path]:
    """A temporary path beside `target` that becomes it when the block succeeds."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        beside = Path(scratch, target.name)
        yield beside
        beside.chmod(0o644)
        shutil.move(beside, target)


def main() -> None:
    """Print the path of an image archive, made first if need be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", choices=["busybox", "debian", "postgresql"])
    print({"busybox": busybox, "debian": debian, "postgresql": postgresql}[parser.parse_args().image]())


if __name__ == "__main__":
    main()
