"""`container network` against canned answers."""

import json

from .conftest import FakeSystem, Reject

NETWORK = {
    "id": "default",
    "configuration": {"name": "default", "mode": "nat", "labels": {}, "options": {}},
    "status": {"ipv4Subnet": "192.168.64.0/24", "ipv4Gateway": "192.168.64.1"},
}


def _named(name: str) -> dict[str, object]:
    return {**NETWORK, "id": name}


def test_create_sends_what_was_asked_for(system: FakeSystem) -> None:
    system.answers["Networks.Create"] = {"network": _named("db")}
    result = system.run(
        *("network", "create", "--internal", "--label", "a=b=c", "--label", "d", "--option", "uplink=pasta"),
        *("--subnet", "10.1.2.3/16", "--subnet-v6", "fd00:0:0:1::5/64", "db"),
    )
    assert (result.stdout, result.returncode) == ("db\n", 0)
    assert system.calls == [
        (
            "Networks.Create",
            {
                "request": {
                    "name": "db",
                    "mode": "hostOnly",
                    "plugin": "container-network-bridge",
                    "labels": {"a": "b=c", "d": ""},
                    "options": {"uplink": "pasta"},
                    "ipv4Subnet": "10.1.0.0/16",
                    "ipv6Subnet": "fd00:0:0:1::/64",
                }
            },
        )
    ]


def test_list_prints_name_and_subnet(system: FakeSystem) -> None:
    system.answers["Networks.List"] = {"networks": [NETWORK]}
    assert system.run("network", "ls").stdout == "NETWORK  SUBNET\ndefault  192.168.64.0/24\n"
    assert system.run("n", "list", "-q").stdout == "default\n"
    assert json.loads(system.run("network", "inspect", "default").stdout) == [NETWORK]


def test_delete_goes_on_after_a_failure(system: FakeSystem) -> None:
    def delete(parameters: dict[str, str], fds: list[int]) -> dict[str, object]:
        if parameters["id"] == "used":
            raise Reject("invalidState", "cannot delete subnet used with referring containers: a")
        return {}

    system.answers["Networks.List"] = {"networks": [_named(name) for name in ("default", "free", "used")]}
    system.answers["Networks.Delete"] = delete
    result = system.run("network", "delete", "used", "free")
    assert (result.stdout, result.returncode) == ("free\n", 1)
    assert result.stderr == (
        'Error: delete failed for one or more networks: ["used"]: '
        "cannot delete subnet used with referring containers: a\n"
    )


def test_nothing_is_deleted_when_one_is_unknown_or_built_in(system: FakeSystem) -> None:
    system.answers["Networks.List"] = {"networks": [_named(name) for name in ("default", "free")]}
    unknown = system.run("network", "delete", "free", "nope")
    assert 'failed to delete one or more networks: ["nope"]: no such network, so nothing was deleted' in unknown.stderr
    builtin = system.run("network", "delete", "free", "default")
    assert builtin.stderr == "Error: cannot delete a builtin network: default\n"
    assert {method for method, _ in system.calls} == {"Networks.List"}


def test_prune_logs_failures_and_succeeds(system: FakeSystem) -> None:
    system.answers["Networks.Prune"] = {"result": {"deleted": ["a", "b"], "failed": {"c": "why"}}}
    result = system.run("network", "prune")
    assert (result.stdout, result.returncode) == ("a\nb\n", 0)
    assert result.stderr == "failed to prune network c: why\n"
