"""The quick client is quick because of what it does not import."""

import subprocess
import sys


def test_the_quick_client_imports_no_event_loop_and_no_dataclasses() -> None:
    script = "import sys, container.ipc.quick, container.supervisor.launch; print(*sys.modules)"
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    loaded = set(output.split())
    assert not loaded & {
        "asyncio",
        "asyncvarlink",
        "dataclasses",
        "typing",
        "socket",
        "logging",
        "subprocess",
        "ctypes",
    }
