from copy import deepcopy

import pytest

from podpath.api import json_codec, patch, scheme
from podpath.api.errors import ApiError
from tests.support.answers import answers

RECORDED = answers("patches")


def shown(tree):
    """As the server shows it: what is null or unknown is gone, defaults are there."""
    return json_codec.to_json(json_codec.from_json(scheme.PODS.message, tree).message)


@pytest.mark.parametrize(("kind", "document", "code", "expected"), RECORDED["answers"])
def test_as_upstream(kind, document, code, expected):
    before, given = deepcopy(RECORDED["object"]), deepcopy(document)
    if code == 200:
        result = patch.apply(f"application/{kind}+json", scheme.PODS, before, document)
        assert shown(result) == shown(expected)
    else:
        with pytest.raises(ApiError) as raised:
            patch.apply(f"application/{kind}+json", scheme.PODS, before, document)
        assert (raised.value.code, raised.value.status.message) == (code, expected)
    assert before == RECORDED["object"]
    assert document == given


@pytest.mark.parametrize(
    ("target", "document", "result"),
    [  # RFC 7386, appendix A
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch(target, document, result):
    assert patch.apply(patch.MERGE_PATCH, scheme.PODS, target, document) == result


CONTAINERS = {"spec": {"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "2"}]}}


@pytest.mark.parametrize(
    ("target", "document", "result"),
    [
        pytest.param(
            CONTAINERS, {"spec": {"containers": [{"name": "c", "image": "3"}]}},
            {"spec": {"containers": [{"name": "c", "image": "3"}, {"name": "a", "image": "1"},
                                     {"name": "b", "image": "2"}]}},
            id="an element is added",
        ),
        pytest.param(
            CONTAINERS, {"spec": {"containers": [{"name": "b", "image": "9"}]}},
            {"spec": {"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "9"}]}},
            id="an element is merged",
        ),
        pytest.param(
            CONTAINERS, {"spec": {"containers": [{"name": "a", "$patch": "delete"}]}},
            {"spec": {"containers": [{"name": "b", "image": "2"}]}},
            id="an element is deleted",
        ),
        pytest.param(
            CONTAINERS, {"spec": {"containers": [{"name": "x"}, {"$patch": "replace"}]}},
            {"spec": {"containers": [{"name": "x"}]}},
            id="the list is replaced",
        ),
        pytest.param(
            CONTAINERS,
            {"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}},
            {"spec": {"containers": [{"name": "b", "image": "2"}, {"name": "a", "image": "1"}]}},
            id="the list is put in order",
        ),
        pytest.param(
            CONTAINERS,
            {"spec": {"$setElementOrder/containers": [{"name": "c"}, {"name": "b"}],
                      "containers": [{"name": "c", "image": "3"}]}},
            {"spec": {"containers": [{"name": "c", "image": "3"}, {"name": "a", "image": "1"},
                                     {"name": "b", "image": "2"}]}},
            id="an order that does not know an element of the server",
        ),
        pytest.param(
            {"spec": {"containers": [{"name": "a", "command": ["x", "y"]}]}},
            {"spec": {"containers": [{"name": "a", "command": ["z"]}]}},
            {"spec": {"containers": [{"name": "a", "command": ["z"]}]}},
            id="a list without a strategy is replaced",
        ),
        pytest.param(
            {"spec": {"tolerations": [{"key": "a"}]}}, {"spec": {"tolerations": [{"key": "b"}]}},
            {"spec": {"tolerations": [{"key": "b"}]}},
            id="tolerations are replaced",
        ),
        pytest.param(
            {"metadata": {"labels": {"a": "1"}}},
            {"metadata": {"labels": {"$patch": "replace", "b": "2"}}},
            {"metadata": {"labels": {"b": "2"}}},
            id="a map is replaced",
        ),
        pytest.param(
            {"metadata": {"finalizers": ["a", "b"]}},
            {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c"]}},
            {"metadata": {"finalizers": ["c", "b"]}},
            id="a set loses and wins",
        ),
        pytest.param(
            {"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}},
            {"spec": {"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"],
                                   "hostPath": {"path": "/x"}}]}},
            {"spec": {"volumes": [{"name": "v", "hostPath": {"path": "/x"}}]}},
            id="only the keys listed are retained",
        ),
        pytest.param(
            {}, {"metadata": {"labels": {"a": None, "b": {"$patch": "delete"}}}},
            {"metadata": {"labels": {}}},
            id="nothing to delete",
        ),
    ],
)  # fmt: skip
def test_strategic_merge_patch(target, document, result):
    assert patch.apply(patch.STRATEGIC_MERGE_PATCH, scheme.PODS, target, document) == result


def test_a_patch_of_an_unknown_type():
    with pytest.raises(ApiError) as raised:
        patch.apply("text/plain", scheme.PODS, {}, {})
    assert raised.value.code == 415


def test_a_patched_object_that_cannot_be_read():
    error = patch.result_error('{"a":1}', "why")
    assert error.code == 422
    assert error.status.message == (' "" is invalid: patch: Invalid value: "{\\"a\\":1}": why')
