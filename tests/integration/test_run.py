"""`container run` and `exec` as a user meets them, against real virtual machines."""

import hashlib
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from support.system import System, settle

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]
SMALL = ("-m", "256m", "-c", "1")


def test_run_prints_what_the_process_prints(system: System) -> None:
    result = system.run("run", "--rm", *SMALL, "busybox", "echo", "hi")
    assert result.stdout == "hi\n"


def test_run_ends_with_the_exit_code_of_the_process(system: System) -> None:
    assert system.run("run", "--rm", *SMALL, "busybox", "sh", "-c", "exit 7", check=False).returncode == 7


def test_standard_error_stays_apart(system: System, box: str) -> None:
    result = system.run("exec", box, "sh", "-c", "echo out; echo err >&2")
    assert (result.stdout, result.stderr) == ("out\n", "err\n")


def test_signals_of_the_cli_reach_the_process(system: System, box: str) -> None:
    script = "trap 'echo got TERM; exit 3' TERM; echo ready; while :; do sleep 0.1; done"
    process = system.popen("run", "--rm", *SMALL, "busybox", "sh", "-c", script, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    # The CLI is the child itself, also behind setpriv, which execs it.
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=60)[0] == "got TERM\n"
    assert process.returncode == 3


@pytest.mark.parametrize("loop", ["exec yes", "while :; do echo y; sleep 0.5; done", "echo y; sleep 1000"])
def test_a_process_whose_output_nobody_reads_ends_as_by_sigpipe(system: System, box: str, loop: str) -> None:
    for command in (("run", "--rm", "--name", "piped", *SMALL, "busybox"), ("exec", box)):
        process = system.popen(*command, "sh", "-c", loop, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"y\n"
        process.stdout.close()
        assert process.wait(60) == 141
        assert process.stderr.read() == b""
        process.stderr.close()
    assert "piped" not in system.output("list", "-aq").split()


def test_a_process_that_ignores_sigpipe_goes_on_without_that_output(system: System) -> None:
    script = "trap '' PIPE; echo y; while echo y; do sleep 0.2; done 2>/dev/null; touch /closed; sleep 1000"
    process = system.popen("run", "--name", "deaf", *SMALL, "busybox", "sh", "-c", script, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"y\n"
    process.stdout.close()
    assert process.wait(60) == 141
    assert system.state("deaf") == "running"
    closed = settle(
        lambda: system.run("exec", "deaf", "ls", "/closed", check=False).returncode, lambda code: not code, 60
    )
    assert closed == 0
    system.run("delete", "-f", "deaf")


def test_a_hundred_megabytes_go_in_to_the_byte(system: System) -> None:
    size = 100_000_000
    with subprocess.Popen(["sh", "-c", f"yes | head -c {size}"], stdout=subprocess.PIPE) as source:
        result = system.run("run", "-i", "--rm", *SMALL, "busybox", "wc", "-c", stdin=source.stdout, timeout=240)
    assert result.stdout.strip() == str(size)


def test_a_hundred_megabytes_come_out_to_the_byte(system: System, box: str) -> None:
    size = 100_000_000
    script = f"yes abcdefghijklmno | head -c {size}"
    expected = hashlib.sha256(subprocess.run(["sh", "-c", script], capture_output=True, check=True).stdout).hexdigest()
    seen = hashlib.sha256()
    with system.popen("exec", box, "sh", "-c", script, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while chunk := process.stdout.read(1 << 20):
            seen.update(chunk)
    assert process.returncode == 0
    assert seen.hexdigest() == expected


def test_options_shape_the_process(system: System) -> None:
    env_file = system.base / "env"  # a place that the system's user may read
    env_file.write_text("# comment\nFROM_FILE=a b\nBOTH=file\n")
    env_file.chmod(0o644)
    script = 'id -u; id -g; pwd; echo "$FROM_FILE/$BOTH"; cat /proc/sys/kernel/hostname; ulimit -n'
    output = system.output(
        *("run", "--rm", *SMALL, "--name", "shaped", "-u", "nobody:staff", "-w", "/tmp", "--env-file", str(env_file)),
        *("-e", "BOTH=option", "--ulimit", "nofile=123:456", "--entrypoint", "sh", "busybox", "-c", script),
    )
    assert output.splitlines() == ["65534", "50", "/tmp", "a b/option", "shaped", "123"]


def test_read_only_root_with_a_writable_tmpfs(system: System) -> None:
    script = "touch /new 2>/dev/null || echo refused; touch /scratch/new && echo written"
    output = system.output("run", "--rm", *SMALL, "--read-only", "--tmpfs", "/scratch", "busybox", "sh", "-c", script)
    assert output.splitlines() == ["refused", "written"]


def test_init_reaps_orphans_and_forwards_signals(system: System) -> None:
    script = "(sleep 0.1 & exec sleep 0.2) & sleep 1; ps -o stat,comm | grep -c '^Z'; cat /proc/1/comm"
    output = system.output("run", "--rm", *SMALL, "--init", "busybox", "sh", "-c", script)
    zombies, init = output.splitlines()
    assert zombies == "0"
    assert init != "sh"


def test_exec_options_override_the_containers(system: System, box: str) -> None:
    script = 'echo "$X"; pwd; id -u; hostname'
    output = system.output("exec", "-e", "X=1", "-w", "/tmp", "-u", "65534", box, "sh", "-c", script)
    assert output.splitlines() == ["1", "/tmp", "65534", box]


def test_commands_that_cannot_run_have_the_shells_exit_codes(system: System, box: str) -> None:
    missing = system.run("exec", box, "no-such-program", check=False)
    denied = system.run("exec", box, "/etc/passwd", check=False)
    assert (missing.returncode, denied.returncode) == (127, 126)
    assert "Error:" in missing.stderr
    assert system.run("run", "--rm", *SMALL, "busybox", "no-such-program", check=False).returncode == 127
    assert system.run("exec", box, "sh", "-c", "kill -9 $$", check=False).returncode == 137


def test_the_guest_sees_its_own_kernel_and_limits(system: System, box: str) -> None:
    host = Path("/proc/sys/kernel/random/boot_id").read_text()
    script = "cat /proc/sys/kernel/random/boot_id; cat /sys/fs/cgroup/memory.max; nproc"
    boot_id, memory, cpus = system.output("exec", box, "sh", "-c", script).splitlines()
    assert boot_id != host.strip()
    assert memory == str(256 << 20)
    assert cpus == "1"


def test_detached_container_logs_and_stops(system: System) -> None:
    script = "echo one; echo two >&2; printf three; exec sleep 1000"
    name = system.output("run", "-d", "--name", "talker", *SMALL, "busybox", "sh", "-c", script)
    assert name == "talker"
    assert settle(lambda: system.output("logs", name), lambda text: "three" in text, 20) == "one\ntwo\nthree"
    assert system.output("logs", "-n", "1", name) == "three"
    stamped = system.output("logs", "-t", "--since", "1h", name)
    assert re.fullmatch(r"(20\S{27}Z) one\n(20\S{27}Z) two\n(20\S{27}Z) three", stamped)
    assert system.output("logs", "--until", "1h", name) == ""
    boot = settle(lambda: system.output("logs", "--boot", name), lambda text: "Linux version" in text, 20)
    assert re.match(r"\[ +0\.0+\] Linux version .*\n", boot)
    assert "Run /init" in boot
    began = time.monotonic()
    assert system.output("stop", "-t", "1", name) == name
    assert time.monotonic() - began < 30
    assert system.state(name) == "stopped"
    assert system.output("logs", name) == "one\ntwo\nthree"
    assert system.output("delete", name) == name


def test_a_stopped_container_starts_again_with_its_files(system: System) -> None:
    system.run("create", "--name", "again", *SMALL, "busybox", "sh", "-c", "echo x >> /log; cat /log")
    assert system.state("again") == "stopped"
    assert system.output("start", "-a", "again") == "x"
    assert system.output("start", "-a", "again") == "x\nx"
    system.run("delete", "again")


def test_kill_ends_a_container_and_the_exit_code_tells(system: System) -> None:
    process = system.popen("run", "--name", "victim", *SMALL, "busybox", "sleep", "1000", stdout=subprocess.PIPE)
    settle(lambda: system.run("inspect", "victim", check=False).stdout, lambda text: '"running"' in text, 60)
    assert system.output("kill", "victim") == "victim"
    process.communicate(timeout=60)
    assert process.returncode == 137
    system.run("delete", "victim")


def test_cidfile_labels_and_names(system: System) -> None:
    cidfile = system.base / "home" / "cid"
    name = system.output("create", "--cidfile", str(cidfile), "-l", "a=1", "-l", "b", *SMALL, "busybox", "true")
    assert cidfile.read_text() == name
    assert system.inspect(name)["configuration"]["labels"] == {"a": "1", "b": ""}
    system.run("delete", name)


def _exchange(client: "subprocess.Popen[str]", word: str) -> None:
    """Have a word echoed."""
    assert client.stdin is not None
    assert client.stdout is not None
    client.stdin.write(f"{word}\n")
    assert client.stdout.readline() == f"{word}\n"


def test_attached_processes_outlive_the_api_server(system: System, box: str) -> None:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "bufsize": 1}
    script = "trap 'echo told' TERM; exec 3<&0; cat <&3 & until wait $!; do :; done; exit 7"
    options = ("--rm", "-i", "--name", "attached", "--progress", "none", *SMALL)
    clients = [
        system.popen("run", *options, "busybox", "sh", "-c", script, **pipes),
        system.popen("exec", "-i", box, "sh", "-c", script, **pipes),
    ]
    for client in clients:
        _exchange(client, "before")
    for _ in range(2):
        os.kill(system.services()["apiserver"], signal.SIGKILL)
        for client in clients:
            client.send_signal(signal.SIGTERM)
            assert client.stdout.readline() == "told\n"
            _exchange(client, "after")
    for client in clients:
        assert client.communicate(timeout=120) == ("", "")
        assert client.returncode == 7
    assert "attached" not in system.output("list", "-aq").split()
