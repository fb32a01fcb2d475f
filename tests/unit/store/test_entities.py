import json
import os
import resource
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from container.errors import ContainerError, ErrorCode
from container.store import atomic
from container.store.entities import Entities


@dataclass(frozen=True)
class Thing:
    name: str
    size_in_bytes: int
    labels: dict[str, str] = field(default_factory=dict)


@pytest.fixture
def things(tmp_path):
    return Entities(str(tmp_path / "things"), Thing, "thing")


def code_of(call, *args):
    with pytest.raises(ContainerError) as caught:
        call(*args)
    return caught.value.code


def test_records_survive_the_store_that_wrote_them(things, tmp_path):
    things.create("b", Thing("b", 1))
    directory = things.create("a", Thing("a", 2, {"k": "v"}))
    things.update("b", Thing("b", 3))
    again = Entities(str(tmp_path / "things"), Thing, "thing").load_all()
    assert list(again.records.items()) == [("a", Thing("a", 2, {"k": "v"})), ("b", Thing("b", 3))]
    assert again.corrupt == []
    with open(os.path.join(directory, "entity.json")) as file:
        assert json.load(file) == {"name": "a", "sizeInBytes": 2, "labels": {"k": "v"}}


def test_an_empty_store_is_empty(things):
    assert things.load_all().records == {}


def test_create_refuses_a_taken_id_and_leaves_its_record(things):
    things.create("a", Thing("a", 1))
    assert code_of(things.create, "a", Thing("a", 2)) is ErrorCode.EXISTS
    assert things.load("a") == Thing("a", 1)


def test_of_many_creators_one_wins(things):
    def attempt(number):
        try:
            things.create("a", Thing("a", number))
        except ContainerError:
            return None
        return number

    with ThreadPoolExecutor(8) as pool:
        winners = [n for n in pool.map(attempt, range(16)) if n is not None]
    assert [things.load("a").size_in_bytes] == winners


def test_absent_records_are_not_found(things):
    assert code_of(things.load, "a") is ErrorCode.NOT_FOUND
    assert code_of(things.update, "a", Thing("a", 1)) is ErrorCode.NOT_FOUND
    assert code_of(things.delete, "a") is ErrorCode.NOT_FOUND


@pytest.mark.parametrize("id", ["", ".", "..", "a/b", ".lock", "a\0b"])
def test_ids_that_lead_elsewhere_are_refused(things, id):
    assert code_of(things.load, id) is ErrorCode.INVALID_ARGUMENT
    assert code_of(things.create, id, Thing("a", 1)) is ErrorCode.INVALID_ARGUMENT


@pytest.mark.parametrize("body", ["{", '{"name": "x"}', '{"name": "x", "sizeInBytes": "no"}', "[]", "\0", ""])
def test_a_corrupt_record_is_reported_and_stops_no_other(things, body):
    things.create("bad", Thing("bad", 1))
    things.create("good", Thing("good", 1))
    path = things.path("bad")
    with open(path, "w") as file:
        file.write(body)
    loaded = things.load_all()
    assert list(loaded.records) == ["good"]
    assert [(c.id, c.path) for c in loaded.corrupt] == [("bad", path)]
    assert path in loaded.corrupt[0].reason
    assert code_of(things.load, "bad") is ErrorCode.INTERNAL
    things.delete("bad")
    assert things.load_all().corrupt == []


def test_a_directory_without_a_record_is_reported(things, tmp_path):
    os.makedirs(tmp_path / "things" / "hollow")
    (corrupt,) = things.load_all().corrupt
    assert corrupt.id == "hollow"
    assert "does not exist" in corrupt.reason


def test_delete_takes_everything_in_the_directory(things, tmp_path):
    directory = things.create("a", Thing("a", 1))
    os.mkdir(os.path.join(directory, "more"))
    things.delete("a")
    assert os.listdir(tmp_path / "things") == [".lock"]


def test_leftovers_of_interrupted_operations_are_swept(things, tmp_path):
    directory = things.create("a", Thing("a", 1))
    os.rename(directory, atomic.sibling(directory))
    assert things.load_all().records == {}
    assert os.listdir(tmp_path / "things") == [".lock"]


def make_levels(path, count):
    """Directories in one another, as deep as no path can say."""
    before = os.open(".", os.O_RDONLY)
    try:
        os.chdir(path)
        for _ in range(count):
            os.mkdir("d")
            os.chdir("d")
    finally:
        os.fchdir(before)
        os.close(before)


@pytest.fixture
def few_descriptors():
    """No more descriptors than a service of a login with a low limit has to spare."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_trees_with_more_levels_than_stack_and_descriptors_are_removed(things, tmp_path, few_descriptors):
    make_levels(things.create("deep", Thing("deep", 1)), 3000)
    things.delete("deep")
    leftover = tmp_path / "things" / f".deep.0{atomic.SUFFIX}"
    leftover.mkdir()
    make_levels(leftover, 3000)
    assert things.load_all().records == {}
    assert [name for name in os.listdir(tmp_path / "things") if name != ".lock"] == []
