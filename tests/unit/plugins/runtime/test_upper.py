import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from container.errors import ContainerError, ErrorCode
from container.plugins.runtime import upper
from container.store import ext4

MEGABYTE = 1 << 20


@pytest.fixture
def bundle(tmp_path):
    (tmp_path / "bundle").mkdir()
    return str(tmp_path / "bundle")


@pytest.fixture
def cache(tmp_path):
    return str(tmp_path / "cache")


def test_the_disk_is_a_clean_sparse_ext4_of_the_nominal_size(bundle, cache):
    path = upper.ensure(bundle, cache)
    status = os.stat(path)
    assert status.st_size == 64 << 30
    assert status.st_blocks * 512 < 4 * MEGABYTE
    assert status.st_mode & 0o777 == 0o600
    checked = subprocess.run(["/sbin/e2fsck", "-f", "-n", path], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert os.listdir(bundle) == [upper.NAME]


def test_a_disk_that_is_there_is_kept(bundle, cache):
    path = upper.ensure(bundle, cache, 64 * MEGABYTE)
    with open(path, "r+b") as file:
        file.seek(10 * MEGABYTE)
        file.write(b"mine")
    assert upper.ensure(bundle, cache, 128 * MEGABYTE) == path
    with open(path, "rb") as file:
        file.seek(10 * MEGABYTE)
        assert file.read(4) == b"mine"
    assert os.path.getsize(path) == 64 * MEGABYTE


def test_a_clone_equals_its_template_and_takes_milliseconds(tmp_path, cache):
    bundles = [str(tmp_path / f"b{n}") for n in range(5)]
    times = []
    for bundle in bundles:
        os.mkdir(bundle)
        begin = time.perf_counter()
        upper.ensure(bundle, cache)
        times.append(time.perf_counter() - begin)
    assert min(times) < 0.02
    template = os.path.join(cache, f"upper-{upper.DEFAULT_SIZE}.ext4")
    with open(template, "rb") as one, open(os.path.join(bundles[0], upper.NAME), "rb") as other:
        assert one.read(MEGABYTE) == other.read(MEGABYTE)


def test_many_at_once_make_one_template(tmp_path, cache):
    bundles = [str(tmp_path / f"b{n}") for n in range(8)]
    for bundle in bundles:
        os.mkdir(bundle)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda bundle: upper.ensure(bundle, cache, 64 * MEGABYTE), bundles))
    assert sorted(os.listdir(cache)) == [f"upper-{64 * MEGABYTE}.ext4", f"upper-{64 * MEGABYTE}.ext4.lock"]


def test_without_mke2fs_the_error_names_the_package(bundle, cache, monkeypatch):
    monkeypatch.setattr(ext4.shutil, "which", lambda *_args, **_options: None)
    with pytest.raises(ContainerError) as caught:
        upper.ensure(bundle, cache)
    assert caught.value.code is ErrorCode.UNSUPPORTED
    assert "e2fsprogs" in caught.value.message


def test_a_failing_mke2fs_is_quoted_and_leaves_nothing(bundle, cache):
    with pytest.raises(ContainerError, match="mke2fs") as caught:
        upper.ensure(bundle, cache, 4096)
    assert caught.value.code is ErrorCode.INTERNAL
    assert os.listdir(bundle) == []
    assert [name for name in os.listdir(cache) if not name.endswith(".lock")] == []


def test_a_bundle_that_is_gone_is_an_error_with_its_path(tmp_path, cache):
    with pytest.raises(ContainerError, match="absent"):
        upper.ensure(str(tmp_path / "absent"), cache, 64 * MEGABYTE)


def test_the_disk_of_a_container_that_goes_with_its_run_has_no_journal(bundle, cache):
    path = upper.ensure(bundle, cache, 64 * MEGABYTE, once=True)
    assert "has_journal" not in features(path)
    checked = subprocess.run(["/sbin/e2fsck", "-f", "-n", path], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_other_disk_has_a_journal(bundle, cache, tmp_path):
    upper.ensure(str(tmp_path), cache, 64 * MEGABYTE, once=True)
    assert "has_journal" in features(upper.ensure(bundle, cache, 64 * MEGABYTE))


def features(path):
    shown = subprocess.run(["/sbin/dumpe2fs", "-h", path], capture_output=True, text=True, check=True).stdout
    return next(line for line in shown.splitlines() if line.startswith("Filesystem features"))


def test_a_disk_that_was_discarded_is_made_anew(bundle, cache):
    assert not upper.exists(bundle)
    upper.discard(bundle)
    path = upper.ensure(bundle, cache, 64 * MEGABYTE, once=True)
    assert upper.exists(bundle)
    with open(path, "r+b") as file:
        file.write(b"x" * MEGABYTE)
    upper.discard(bundle)
    assert not upper.exists(bundle)
    upper.ensure(bundle, cache, 64 * MEGABYTE, once=True)
    assert subprocess.run(["/sbin/e2fsck", "-f", "-n", path], capture_output=True).returncode == 0
