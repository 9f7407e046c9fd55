"""New objects, against what a running kube-apiserver said of them."""

import pytest

from apiserver import validation
from apiserver.defaulting import apply_defaults
from podpath.api import errors, json_codec, scheme
from tests.support.answers import answers

ANSWERS = answers("validation")


def ids(answer):
    causes = answer["causes"]
    return f"{answer['object']['kind']}: {causes[0][1] + ' ' + causes[0][0] if causes else 'valid'}"


@pytest.mark.parametrize("answer", ANSWERS, ids=ids)
def test_as_upstream(answer):
    tree = answer["object"]
    resource = scheme.by_kind(tree["apiVersion"], tree["kind"])
    message = json_codec.from_json(resource.message, tree).message
    if resource.namespaced:
        message.metadata.namespace = "default"
    apply_defaults(resource, message)
    found = validation.validate_create(resource, message)
    told = sorted([error.reason, error.path, error.message] for error in found)
    assert told == sorted(answer["causes"])
    if answer["message"] is not None:
        name = message.metadata.name
        group = "" if resource.kind == "Event" else resource.group  # they are stored as core's
        error = errors.invalid_object(group, resource.kind, name, found)
        assert error.status.message == answer["message"]


def test_the_answers_cover_the_kinds():
    kinds = {answer["object"]["kind"] for answer in ANSWERS}
    assert {"Pod", "Namespace", "Secret", "Service", "Deployment", "Role", "Lease"} <= kinds
    assert sum(answer["object"]["kind"] == "Pod" for answer in ANSWERS) > 100


@pytest.mark.parametrize("resource", list(scheme.resources()), ids=repr)
def test_a_kind_that_says_nothing_gets_errors_and_no_traceback(resource):
    message = json_codec.new(resource.message)
    if resource.group.startswith("auth"):
        assert validation.validate_create(resource, message) == []
        return
    paths = {error.path for error in validation.validate_create(resource, message)}
    assert "metadata.name" in paths
