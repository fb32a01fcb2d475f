import subprocess
import sys
import threading

import pytest

from container.errors import ContainerError, ErrorCode
from container.store.locks import locked


def test_a_second_holder_is_refused_or_waits(tmp_path):
    path = str(tmp_path / "lock")
    order = []
    with locked(path):
        with pytest.raises(ContainerError) as caught, locked(path, wait=False):
            pass
        assert caught.value.code is ErrorCode.INVALID_STATE

        def second():
            with locked(path):
                order.append("second")

        thread = threading.Thread(target=second)
        thread.start()
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_shared_holders_exclude_only_exclusive_ones(tmp_path):
    path = str(tmp_path / "lock")
    with (
        locked(path, shared=True),
        locked(path, shared=True, wait=False),
        pytest.raises(ContainerError),
        locked(path, wait=False),
    ):
        pass
    with locked(path, wait=False):
        pass


def test_a_killed_holder_frees_the_lock(tmp_path):
    path = str(tmp_path / "lock")
    code = (
        "import sys, time\n"
        "from container.store.locks import locked\n"
        "with locked(sys.argv[1]):\n"
        "    print(flush=True)\n"
        "    time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-P", "-c", code, path], stdout=subprocess.PIPE) as process:
        process.stdout.read(1)
        with pytest.raises(ContainerError), locked(path, wait=False):
            pass
        process.kill()
    with locked(path, wait=False):
        pass


def test_a_lock_that_cannot_be_made_names_its_path(tmp_path):
    path = str(tmp_path / "absent" / "lock")
    with pytest.raises(ContainerError, match="absent"), locked(path):
        pass
