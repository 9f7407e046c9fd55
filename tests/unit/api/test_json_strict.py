import json

import pytest

from podpath.api import json_strict, scheme
from podpath.api.errors import ApiError
from tests.support.answers import answers

RESOURCES = {r.name: r for r in (scheme.PODS, scheme.SECRETS, scheme.DEPLOYMENTS)}


@pytest.mark.parametrize(("resource", "body", "message"), answers("decoding"))
def test_bodies_are_refused_in_upstreams_words(resource, body, message):
    if message is None:
        json_strict.decode_object(RESOURCES[resource], body.encode())
        return
    with pytest.raises(ApiError) as raised:
        json_strict.decode_object(RESOURCES[resource], body.encode())
    assert (raised.value.code, raised.value.status.message) == (400, message)


BODY = b'{"metadata":{"name":"a","name":"b"},"spec":{"foo":1,"containers":[{"name":"c"}]}}'


@pytest.mark.parametrize(
    ("field_validation", "warnings"),
    [
        pytest.param("Ignore", (), id="Ignore"),
        pytest.param(
            "Warn", ('duplicate field "metadata.name"', 'unknown field "spec.foo"'), id="Warn"
        ),
        pytest.param(
            "", ('duplicate field "metadata.name"', 'unknown field "spec.foo"'), id="not said"
        ),
    ],
)
def test_lenient_validation(field_validation, warnings):
    pod, found = json_strict.decode_object(scheme.PODS, BODY, field_validation)
    assert pod.metadata.name == "b"
    assert found == warnings


def test_strict_validation():
    with pytest.raises(ApiError) as raised:
        json_strict.decode_object(scheme.PODS, BODY)
    assert raised.value.status.message == (
        'Pod in version "v1" cannot be handled as a Pod: strict decoding error: '
        'duplicate field "metadata.name", unknown field "spec.foo"'
    )


@pytest.mark.parametrize(
    ("body", "paths"),
    [
        (b'{"a":1}', ()),
        (b'{ "a" : [ {"b":1}, {"b":1,"b":2} ] }', ("a[1].b",)),
        (b'{"a":{"b":1},"a":{"b":2}}', ("a",)),
        (b'{"a":"\\u003c"}', ()),
        (b'\n{"a":1,"a":1,"a":1}\n', ("a",)),
    ],
)
def test_duplicates(body, paths):
    assert tuple(json_strict.field_places(body, json.loads(body)).again) == paths


def test_problems_are_told_in_the_order_of_the_text():
    body = b'{"spec":{"foo":1,"hostname":"a", "hostname":"b","bar":2}}'
    _, found = json_strict.decode_object(scheme.PODS, body, "Warn")
    assert found == (
        'unknown field "spec.foo"',
        'duplicate field "spec.hostname"',
        'unknown field "spec.bar"',
    )
