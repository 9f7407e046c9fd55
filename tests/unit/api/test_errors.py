import json
from pathlib import Path

import pytest

from podpath.api import errors, json_codec

FACTS = Path(__file__).parents[2] / "golden" / "rest-facts.json"
SAMPLES = {
    f"{entry['constructor']}/{entry.get('sample', {}).get('details', {}).get('kind', '')}": entry
    for entry in reversed(json.loads(FACTS.read_text())["status_constructors"])
}
FIELDS = [
    errors.required("spec.containers"),
    errors.invalid("metadata.name", "X", "d"),
    errors.not_supported("spec.restartPolicy", "Z", {"Never", "Always"}),
    errors.forbidden_field("spec", "d"),
    errors.duplicate("spec.containers[1].name", "c"),
    errors.not_found_field("spec.containers[0].volumeMounts[0].name", "v"),
    errors.too_long("metadata.name", 253),
    errors.too_many("spec.a", 3, 2),
]


@pytest.mark.parametrize(
    ("constructor", "error"),
    [
        ("NewNotFound/pods", errors.not_found("", "pods", "x")),
        ("NewNotFound/deployments", errors.not_found("apps", "deployments", "x")),
        ("NewAlreadyExists/pods", errors.already_exists("", "pods", "x")),
        ("NewGenerateNameConflict/pods", errors.generate_name_conflict("", "pods", "x")),
        ("NewUnauthorized/", errors.unauthorized("not authorized")),
        ("NewForbidden/pods", errors.forbidden("", "pods", "x", "cause")),
        ("NewConflict/deployments", errors.conflict("apps", "deployments", "x", "cause")),
        ("NewGone/", errors.new("Gone", "msg")),
        ("NewResourceExpired/", errors.expired("msg")),
        ("NewInvalid/Pod", errors.invalid_object("", "Pod", "x", FIELDS)),
        ("NewBadRequest/", errors.bad_request("msg")),
        ("NewTooManyRequests/", errors.too_many_requests("msg", 5)),
        ("NewServiceUnavailable/", errors.service_unavailable("msg")),
        ("NewMethodNotSupported/pods", errors.method_not_supported("", "pods", "put")),
        ("NewServerTimeout/pods", errors.server_timeout("", "pods", "get")),
        ("NewInternalError/", errors.internal_error("cause")),
        ("NewTimeoutError/", errors.timeout("msg", 2)),
        ("NewRequestEntityTooLargeError/", errors.too_large("msg")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_constructors(constructor, error):
    assert json_codec.to_json(error.status) == SAMPLES[constructor]["sample"]
    assert error.code == SAMPLES[constructor]["http_code"]


def test_forbidden_without_a_name():
    assert errors.forbidden("", "pods", "", "c").status.message == "pods is forbidden: c"


def test_one_error_has_no_brackets_and_doubles_are_told_once():
    one = errors.required("a", "b")
    status = errors.invalid_object("apps", "Deployment", "x", [one, one]).status
    assert status.message == 'Deployment.apps "x" is invalid: a: Required value: b'
    assert len(status.details.causes) == 2


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ('a"b', '"a\\"b"'),
        (5, "5"),
        (True, "true"),
        (None, '"null"'),
        (["a", "b"], '[]string{"a", "b"}'),
        ({"a": 1}, '{"a":1}'),
        (errors.go_labels({"b": "2", "a": "1"}), 'map[string]string{"a":"1", "b":"2"}'),
        (errors.go_labels({}), "map[string]string(nil)"),
        (errors.GoValue("foo"), "foo"),
    ],
)
def test_bad_values(value, told):
    assert errors.invalid("p", value, "d").message == f"Invalid value: {told}: d"
