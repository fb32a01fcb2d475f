from container.model.capabilities import DEFAULT, NAMES, granted


def test_the_default_set_has_fourteen_of_forty_one():
    assert (len(NAMES), len(DEFAULT)) == (41, 14)
    assert set(granted([], [])) == set(DEFAULT) < set(NAMES)


def test_adds_come_after_drop_all_and_single_drops_last():
    assert granted(["CAP_NET_ADMIN"], ["ALL"]) == ["CAP_NET_ADMIN"]
    assert granted([], ["ALL"]) == []
    assert set(granted(["ALL"], ["CAP_KILL"])) == set(NAMES) - {"CAP_KILL"}
    assert granted(["CAP_KILL"], ["CAP_KILL", "ALL"]) == []
    assert set(granted([], ["CAP_KILL"])) == set(DEFAULT) - {"CAP_KILL"}
