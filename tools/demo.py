"""`make demo`: a real nginx from Debian packages, in its own virtual machine, answers through a published port.

It has a system of its own, below a temporary directory; other systems of the user go on beside it.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
CLI = str(Path(sys.executable).with_name("container"))
NAME = "demo-nginx"
CACHE = Path(os.environ.get("CONTAINER_TEST_CACHE", ROOT / ".cache"))
KERNELS = CACHE / "kernels"
ADVICE = "Free disk space and memory help with most failures; then run `make demo` again."


def say(text: str) -> None:
    """One line of the story."""
    print(f"\033[1m==> {text}\033[0m" if sys.stdout.isatty() else f"==> {text}", flush=True)


class Demo:
    """The system of the demo: roots of its own below `base`."""

    def __init__(self, base: Path) -> None:
        self.app = base / "app"
        own = {
            "CONTAINER_APP_ROOT": str(self.app),
            "CONTAINER_RUN_ROOT": str(base / "run"),
            "CONTAINER_LOG_ROOT": str(base / "logs"),
            "XDG_CONFIG_HOME": str(base / "config"),
        }
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("CONTAINER_")}
        self.environment = inherited | own

    def run(self, *arguments: str, quiet: bool = False, stdin: object = None) -> str:
        """Run the CLI; show the command; give back what it prints."""
        if not quiet:
            print(f"$ container {' '.join(arguments)}", flush=True)
        command = [CLI, *arguments]
        result = subprocess.run(
            command, env=self.environment, stdout=subprocess.PIPE, text=True, stdin=stdin, check=True
        )  # type: ignore[call-overload]
        return str(result.stdout).strip()

    def start(self) -> None:
        """Start the system; its kernel is fetched by the first demo of this clone only."""
        if KERNELS.is_dir():
            shutil.copytree(KERNELS, self.app / "kernels", symlinks=True)
        self.run("system", "start", "--enable-kernel-install")
        if not KERNELS.is_dir():
            with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
                shutil.copytree(self.app / "kernels", Path(scratch, "kernels"), symlinks=True)
                Path(scratch, "kernels").rename(KERNELS)

    def stop(self) -> None:
        """Stop the system with its container, also when Ctrl-C is pressed once more."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        subprocess.run([CLI, "system", "stop"], env=self.environment, stderr=subprocess.DEVNULL, check=False)


@contextmanager
def running_system() -> Iterator[Demo]:
    """A system that nothing else uses; stopped and removed at the end."""
    with tempfile.TemporaryDirectory(prefix="container-demo-", ignore_cleanup_errors=True) as base:
        demo = Demo(Path(base))
        try:
            demo.start()
            yield demo
        finally:
            demo.stop()


def image_archive() -> str:
    """Path of the archive of the Debian image, made by the first demo of this clone."""
    maker = [sys.executable, str(ROOT / "tests" / "support" / "images.py"), "debian"]
    what = "A Debian image with nginx, made by mmdebstrap from Debian packages (once; about a minute)"
    advice = "Check the network and the apt sources (/etc/apt), then run make again."
    step = subprocess.run([ROOT / "tools/step", what, advice, *maker], cwd=ROOT, check=False)
    if step.returncode:
        sys.exit(step.returncode)
    return subprocess.run(maker, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def fetch(url: str, seconds: float) -> str:
    """The page at `url`, waited for as long as nginx needs to start."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return str(answer.read().decode())
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def tell(demo: Demo, archive: str) -> None:
    """Load the image, run it, fetch its page, show where the time went."""
    say("Load the image: every layer becomes a squashfs")
    with open(archive, "rb") as stream:
        print(demo.run("image", "load", stdin=stream))
    say("Run it in its own virtual machine")
    port = free_port()
    began = time.monotonic()
    publish = ("-p", f"127.0.0.1:{port}:80")
    print(demo.run("run", "-d", "--name", NAME, "-c", "1", "-m", "512m", *publish, "nginx:debian"))
    started = time.monotonic() - began
    page = fetch(f"http://127.0.0.1:{port}/", 60)
    answered = time.monotonic() - began
    print(demo.run("list"))
    say(f"http://127.0.0.1:{port}/ answers:")
    print(page.splitlines()[0])
    say("Where the time went")
    for step, seconds in json.loads((demo.app / "containers" / NAME / "timeline.json").read_text()):
        print(f"{seconds:8.3f} s  {step}")
    print(f"{started:8.3f} s  `container run` has returned\n{answered:8.3f} s  the page is here")
    status = json.loads(demo.run("system", "status", "--format", "json", quiet=True))
    print(f"accelerator: {status['accelerator']}")


def main() -> int:
    """Tell the story; one sentence when it fails."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.default_int_handler)
    try:
        archive = image_archive()
        with running_system() as demo:
            tell(demo, archive)
    except KeyboardInterrupt:
        print("\nThe demo was interrupted; nothing of it runs any more. `make demo` starts it again.", file=sys.stderr)
        return 130
    except subprocess.CalledProcessError as error:
        words = " ".join(map(str, error.cmd[1:]))
        print(f"Error: the demo ended since `container {words}` failed, as said above. {ADVICE}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"Error: the demo failed: {error}. {ADVICE}", file=sys.stderr)
        return 1
    say(f"Done; nothing of it runs any more. Go on with: {CLI} system start")
    return 0


if __name__ == "__main__":
    sys.exit(main())
