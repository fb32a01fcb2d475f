"""`make demo`: a real nginx from Debian packages, in its own virtual machine, answers through a published port."""

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
CLI = str(Path(sys.executable).with_name("container"))
NAME = "demo-nginx"


def say(text: str) -> None:
    """One line of the story."""
    print(f"\033[1m==> {text}\033[0m" if sys.stdout.isatty() else f"==> {text}", flush=True)


def container(*arguments: str, quiet: bool = False, stdin: object = None) -> str:
    """Run the CLI; show the command; give back what it prints."""
    if not quiet:
        print(f"$ container {' '.join(arguments)}", flush=True)
    result = subprocess.run([CLI, *arguments], stdout=subprocess.PIPE, text=True, stdin=stdin, check=True)  # type: ignore[call-overload]
    return str(result.stdout).strip()


@contextmanager
def running_system() -> Iterator[None]:
    """The system of this user; stopped at the end unless it ran before."""
    ran_before = subprocess.run([CLI, "system", "status"], capture_output=True, check=False).returncode == 0
    container("system", "start", "--enable-kernel-install")
    try:
        yield
    finally:
        subprocess.run([CLI, "delete", "-f", NAME], capture_output=True, check=False)
        if not ran_before:
            container("system", "stop")


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


def main() -> None:
    """Tell the story."""
    say("A Debian image with nginx, made by mmdebstrap from Debian packages (once; about a minute)")
    image = ROOT / "tests" / "support" / "images.py"
    archive = subprocess.run(
        [sys.executable, image, "debian"], stdout=subprocess.PIPE, text=True, check=True
    ).stdout.strip()
    with running_system():
        say("Load the image: every layer becomes a squashfs")
        with open(archive, "rb") as stream:
            print(container("image", "load", stdin=stream))
        subprocess.run([CLI, "delete", "-f", NAME], capture_output=True, check=False)
        say("Run it in its own virtual machine")
        port = free_port()
        began = time.monotonic()
        print(
            container(
                "run", "-d", "--name", NAME, "-c", "1", "-m", "512m", "-p", f"127.0.0.1:{port}:80", "nginx:debian"
            )
        )
        started = time.monotonic() - began
        page = fetch(f"http://127.0.0.1:{port}/", 60)
        answered = time.monotonic() - began
        print(container("list"))
        say(f"http://127.0.0.1:{port}/ answers:")
        print(page.splitlines()[0])
        say("Where the time went")
        app_root = json.loads(container("system", "status", "--format", "json", quiet=True))["appRoot"]
        for step, seconds in json.loads(Path(app_root, "containers", NAME, "timeline.json").read_text()):
            print(f"{seconds:8.3f} s  {step}")
        print(f"{started:8.3f} s  `container run` has returned\n{answered:8.3f} s  the page is here")
        status = json.loads(container("system", "status", "--format", "json", quiet=True))
        print(f"accelerator: {status['accelerator']}")
    say(f"Done. Go on with: {CLI} system start")


if __name__ == "__main__":
    main()
