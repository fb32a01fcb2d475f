"""`image pull` of a Debian image of over 200 MB from a registry on loopback, against other tools and the bare floor."""

import hashlib
import json
import os
import shutil
import statistics
import subprocess
import tarfile
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support import images, registry
from support.registry import Registry
from support.system import System

from benchmarks.measure import Result

_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_MORE = ("/usr/lib/python3.11", "/usr/lib/python3", "/usr/lib/python3.13")  # of this host, to pass 200 MB
_GIGABYTE = 1_000_000_000
_REPEATS = 3


def measure(system: System) -> list[Result]:
    """Ratios over three rounds; the peak memory of the image helper."""
    with tempfile.TemporaryDirectory() as scratch, registry.running(Path(scratch, "registry")) as source:
        made = Images(Path(scratch), source)
        first, second = made.debian("first:1", b"one"), made.debian("second:1", b"two")
        return [
            *_speed(system, source, first, Path(scratch)),
            _shared(system, first, second),
            _memory(system, made.gigabyte("large:1")),
        ]


class Images:
    """Pushes images made for this into a registry."""

    def __init__(self, scratch: Path, source: Registry) -> None:
        self._scratch = scratch
        self._source = source
        self._base: list[tuple[dict[str, Any], str]] = []

    def debian(self, name: str, top: bytes) -> str:
        """The test suite's Debian, more of the host's files, and a small layer on top; returns the reference."""
        layout = self._scratch / "debian"
        if not self._base:
            _run("skopeo", "copy", f"oci-archive:{images.debian()}", f"oci:{layout}:x")
            index = json.loads((layout / "index.json").read_bytes())
            manifest = _blob(layout, index["manifests"][0])
            config = _blob(layout, manifest["config"])
            self._base = list(zip(manifest["layers"], config["rootfs"]["diff_ids"], strict=True))
            tree = self._scratch / "more.tar"
            _run("tar", "-cf", str(tree), *(path for path in _MORE if Path(path).is_dir()))
            self._base.append(_add_layer(layout, tree, level=6))
        small = self._scratch / "small.tar"
        path = self._scratch / "top"
        path.write_bytes(top)
        with tarfile.open(small, "w") as archive:
            archive.add(path, "top")
        return self._push(layout, name, [*self._base, _add_layer(layout, small, level=6)])

    def gigabyte(self, name: str) -> str:
        """One layer of 1 GB that does not compress."""
        layout, data, tree = self._scratch / "large", self._scratch / "data", self._scratch / "large.tar"
        (layout / "blobs/sha256").mkdir(parents=True)
        with Path("/dev/urandom").open("rb") as noise, data.open("wb") as file:
            for _ in range(_GIGABYTE // 1_000_000):
                file.write(noise.read(1_000_000))
        with tarfile.open(tree, "w") as archive:
            archive.add(data, "data")
        data.unlink()
        layer = _add_layer(layout, tree, level=0)
        tree.unlink()
        return self._push(layout, name, [layer])

    def _push(self, layout: Path, name: str, layers: list[tuple[dict[str, Any], str]]) -> str:
        config: dict[str, Any] = {"os": "linux", "architecture": images.architecture(), "config": {}}
        config["rootfs"] = {"type": "layers", "diff_ids": [diff_id for _, diff_id in layers]}
        kind = "application/vnd.oci.image.manifest.v1+json"
        manifest = {
            "schemaVersion": 2,
            "mediaType": kind,
            "config": _put(layout, config, "application/vnd.oci.image.config.v1+json"),
            "layers": [layer for layer, _ in layers],
        }
        index = {"schemaVersion": 2, "manifests": [_put(layout, manifest, kind)]}
        (layout / "index.json").write_text(json.dumps(index))
        (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        return self._source.push(f"oci:{layout}", name)


def _speed(system: System, source: Registry, name: str, scratch: Path) -> list[Result]:
    path = name.partition("/")[2].rpartition(":")[0]
    manifest = json.loads(source.skopeo("inspect", "--raw", f"docker://{name}"))
    urls = [f"http://{source.host}/v2/{path}/blobs/{layer['digest']}" for layer in manifest["layers"]]

    def others() -> None:
        source.fetch(f"{path}:1", scratch / "copy")
        _run("umoci", "unpack", "--image", f"{scratch / 'copy'}:x", str(scratch / "bundle"))

    ours, theirs, bare, podman = [], [], [], []
    for _ in range(_REPEATS + 1):
        ours.append(_pull(system, name))
        _run("rm", "-rf", str(scratch / "copy"), str(scratch / "bundle"))
        theirs.append(_seconds(others))
        bare.append(_seconds(lambda: _run("sh", "-c", f"curl -sf {' '.join(urls)} | gunzip > /dev/null")))
        if shutil.which("podman") and os.getuid() == 0:
            podman.append(_podman(scratch / "podman", name))
    whole, other, floor = (statistics.median(times[1:]) for times in (ours, theirs, bare))
    size = sum(layer["size"] for layer in manifest["layers"]) / 1e6
    detail = f"{whole:.2f} s against {other:.2f} s and {floor:.2f} s, {size:.0f} MB compressed"
    return [
        Result("image pull / skopeo copy + umoci unpack", whole / other, 0.5, detail=detail),
        Result("image pull / curl | gunzip", whole / floor, 1.6, detail=detail),
        *_against_podman(whole, podman[1:]),
    ]


def _against_podman(whole: float, podman: list[float]) -> list[Result]:
    """Nothing where it is not installed."""
    if not podman:
        return []
    other = statistics.median(podman)
    return [Result("image pull / podman pull", whole / other, 0.6, detail=f"{whole:.2f} s against {other:.2f} s")]


def _podman(directory: Path, name: str) -> float:
    """Seconds of a pull from nothing with podman's overlay driver, into a storage of its own."""
    own = ["--root", str(directory), "--runroot", f"{directory}-run", "--storage-driver", "overlay"]
    elapsed = _seconds(lambda: _run("podman", *own, "pull", "--quiet", "--tls-verify=false", name))
    _run("podman", *own, "rmi", "--all", "--force")
    subprocess.run(["umount", directory / "overlay"], check=False, capture_output=True)  # the driver leaves it mounted
    return elapsed


def _shared(system: System, first: str, second: str) -> Result:
    """The second image without its own layer, against the first from nothing."""
    whole, rest = [], []
    for _ in range(_REPEATS):
        _forget(system, second)
        whole.append(_pull(system, first))
        rest.append(_seconds(lambda: system.run("image", "pull", "--progress", "none", second)))
    one, two = statistics.median(whole), statistics.median(rest)
    detail = f"{two:.2f} s against {one:.2f} s"
    return Result("image pull, all but the top layer there / all new", two / one, 0.15, detail=detail)


def _memory(system: System, name: str) -> Result:
    """The largest resident set that the helper ever had (proc_pid_status(5)), its compressor not counted."""
    elapsed = _pull(system, name)
    status = Path(f"/proc/{system.services()['images']}/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    _forget(system, name)
    return Result("peak memory of core-images, layer of 1 GB", peak / 1024, 120, "MiB", detail=f"{elapsed:.1f} s")


def _pull(system: System, name: str) -> float:
    """Seconds of a pull from nothing."""
    _forget(system, name)
    return _seconds(lambda: system.run("image", "pull", "--progress", "none", name))


def _forget(system: System, name: str) -> None:
    system.run("image", "delete", "--force", name)


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True)


def _add_layer(layout: Path, tree: Path, level: int) -> tuple[dict[str, Any], str]:
    """Compress a tar into a layout; returns its descriptor and its diff-id."""
    packer = zlib.compressobj(level, zlib.DEFLATED, 31)
    plain, packed, size = hashlib.sha256(), hashlib.sha256(), 0
    beside = layout / "layer"
    with tree.open("rb") as source, beside.open("wb") as target:
        while True:
            data = source.read(1 << 20)
            out = packer.compress(data) if data else packer.flush()
            plain.update(data)
            packed.update(out)
            size += target.write(out)
            if not data:
                break
    beside.rename(layout / "blobs/sha256" / packed.hexdigest())
    descriptor = {"mediaType": _LAYER, "digest": f"sha256:{packed.hexdigest()}", "size": size}
    return descriptor, f"sha256:{plain.hexdigest()}"


def _put(layout: Path, document: dict[str, Any], media_type: str) -> dict[str, Any]:
    data = json.dumps(document).encode()
    digest = hashlib.sha256(data).hexdigest()
    (layout / "blobs/sha256" / digest).write_bytes(data)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}


def _blob(layout: Path, descriptor: dict[str, Any]) -> Any:
    return json.loads((layout / "blobs/sha256" / str(descriptor["digest"])[7:]).read_bytes())
