"""Field sets, and trees that are merged and compared by their shapes."""

import pytest

from podpath.api.apply import field_sets, trees
from podpath.api.apply.shapes import struct
from protos.k8s.core_v1_pb2 import PodSpec, Service

SERVICE = struct(Service)
POD = struct(PodSpec)
A, B, AB = {"f:a": {".": {}}}, {"f:b": {".": {}}}, {"f:a": {".": {}}, "f:b": {".": {}}}


@pytest.mark.parametrize(
    ("operation", "left", "right", "expected"),
    [
        pytest.param(field_sets.union, A, B, AB, id="union"),
        pytest.param(field_sets.intersection, AB, B, B, id="intersection"),
        pytest.param(field_sets.difference, AB, B, A, id="difference"),
        pytest.param(
            field_sets.difference,
            {"f:x": {".": {}, **A}},
            {"f:x": A},
            {"f:x": {".": {}}},
            id="below",
        ),
        pytest.param(field_sets.difference, {"f:x": A}, {"f:x": {".": {}}}, {"f:x": A}, id="above"),
    ],
)
def test_set_operations(operation, left, right, expected):
    assert operation(left, right) == expected


def test_fields_v1_is_read_and_written():
    raw = b'{"f:a":{},"f:l":{"k:{\\"name\\":\\"x\\"}":{".":{},"f:v":{}},"v:\\"s\\"":{}}}'
    fields = field_sets.decode(raw)
    assert field_sets.encode(fields) == raw
    assert field_sets.paths(fields) == [".a", '.l[name="x"]', '.l[name="x"].v', '.l[="s"]']


@pytest.mark.parametrize(
    ("raw", "why"), [(b"[]", "no object"), (b'{"f:a":1}', "no object"), (b"{", "unexpected end")]
)
def test_what_is_no_fields_v1_is_refused(raw, why):
    with pytest.raises(ValueError, match=why):
        field_sets.decode(raw)


@pytest.mark.parametrize(
    ("live", "config", "expected"),
    [
        pytest.param("ab", "b", "ab", id="kept before"),
        pytest.param("ab", "ba", "ba", id="the configuration's order"),
        pytest.param("axb", "ba", "xba", id="the live one's own item"),
        pytest.param("", "ab", "ab", id="all new"),
        pytest.param("abc", "xc", "abxc", id="new before a known one"),
        pytest.param("abcd", "db", "acdb", id="moved forward"),
        pytest.param("abc", "cxa", "bcxa", id="moved, and a new one"),
        pytest.param("xayb", "ba", "xyba", id="swapped"),
        pytest.param("abzc", "bxac", "bzxac", id="moved around a live one"),
    ],
)
def test_order_of_merged_lists(live, config, expected):
    def spec(names):
        return {"containers": [{"name": name} for name in names]}

    merged = trees.merge(spec(live), spec(config), POD)
    assert "".join(c["name"] for c in merged["containers"]) == expected


def test_atomic_values_are_replaced():
    merged = trees.merge(
        {"nodeSelector": {"a": "1"}, "tolerations": [{"key": "a"}], "hostNetwork": True},
        {"nodeSelector": {"b": "1"}, "tolerations": [{"key": "b"}]},
        POD,
    )
    assert merged == {
        "nodeSelector": {"b": "1"},
        "tolerations": [{"key": "b"}],
        "hostNetwork": True,
    }


def test_neither_side_of_a_merge_changes():
    live, config = {"containers": [{"name": "a", "args": ["x"]}]}, {"containers": [{"name": "a"}]}
    before = repr((live, config))
    trees.merge(live, config, POD)
    assert repr((live, config)) == before


def test_comparison():
    changed, removed = trees.compare(
        {"spec": {"ports": [{"port": 1}, {"port": 2}], "selector": {"a": "b"}}},
        {"spec": {"ports": [{"port": 2, "name": "n"}, {"port": 3}], "selector": {"a": "c"}}},
        SERVICE,
    )
    assert field_sets.paths(changed) == [
        '.spec.ports[port=2,protocol="TCP"].name',
        '.spec.ports[port=3,protocol="TCP"]',
        '.spec.ports[port=3,protocol="TCP"].port',
        ".spec.selector",
    ]
    assert field_sets.paths(removed) == [
        '.spec.ports[port=1,protocol="TCP"]',
        '.spec.ports[port=1,protocol="TCP"].port',
    ]


def test_what_somebody_else_owns_is_not_pruned():
    tree = {"containers": [{"name": "a", "image": "i", "tty": True}], "hostPID": True}
    given_up = trees.field_set(tree, POD)
    element = 'k:{"name":"a"}'
    owned = {"f:containers": {element: {".": {}, "f:image": {".": {}}}}}
    assert trees.prune(tree, POD, given_up, owned) == {"containers": [{"image": "i"}]}
    orphan = {"f:containers": {element: {"f:image": {".": {}}}}}
    assert trees.prune(tree, POD, given_up, orphan) == {}
