from copy import deepcopy

import pytest

from apiserver import validation
from apiserver.defaulting import apply_defaults
from podpath.api import json_codec, scheme

META = {"name": "x", "namespace": "default", "uid": "u", "resourceVersion": "5", "generation": 2}
POD = {
    "metadata": META,
    "spec": {
        "containers": [{"name": "c", "image": "i:1"}],
        "tolerations": [{"key": "a", "operator": "Exists"}],
        "activeDeadlineSeconds": 100,
    },
}
GATED = {**POD, "spec": {**POD["spec"], "schedulingGates": [{"name": "g"}],
                         "nodeSelector": {"a": "b"}}}  # fmt: skip
TEMPLATE = {
    "metadata": {"labels": {"a": "b"}},
    "spec": {"containers": [{"name": "c", "image": "i"}]},
}
DEPLOYMENT = {
    "metadata": META,
    "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": TEMPLATE},
}
CLUSTER_META = {key: value for key, value in META.items() if key != "namespace"}


def changed(tree, path, value):
    tree = deepcopy(tree)
    here = tree
    *steps, last = path
    for step in steps:
        here = here.setdefault(step, {}) if isinstance(here, dict) else here[step]
    if value is None:
        here.pop(last, None)
    else:
        here[last] = value
    return tree


def message(resource, tree):
    found = json_codec.from_json(resource.message, tree).message
    apply_defaults(resource, found)
    return found


def errors_of(resource, old, path, value):
    new = message(resource, changed(old, path, value))
    found = validation.validate_update(resource, new, message(resource, old))
    return [f"{error.path}: {error.message.partition(chr(10))[0]}" for error in found]


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        pytest.param(("metadata", "labels"), {"a": "b"}, [], id="labels"),
        pytest.param(
            ("metadata", "uid"), "v",
            ['metadata.uid: Invalid value: "v": field is immutable'], id="uid",
        ),
        pytest.param(
            ("metadata", "name"), "y",
            ['metadata.name: Invalid value: "y": field is immutable'], id="name",
        ),
        pytest.param(
            ("metadata", "resourceVersion"), None,
            ['metadata.resourceVersion: Invalid value: "": must be specified for an update'],
            id="no resourceVersion",
        ),
        pytest.param(
            ("metadata", "generation"), 1,
            ["metadata.generation: Invalid value: 1: must not be decremented"], id="generation",
        ),
        pytest.param(
            ("metadata", "creationTimestamp"), "2024-01-01T00:00:00Z",
            ['metadata.creationTimestamp: Invalid value: "2024-01-01T00:00:00Z": '
             "field is immutable"], id="creationTimestamp",
        ),
        pytest.param(
            ("metadata", "labels"), {"a b": "c"},
            ["metadata.labels: Invalid value: \"a b\": name part must consist of alphanumeric "
             "characters, '-', '_' or '.', and must start and end with an alphanumeric character "
             "(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
             "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"], id="a bad label",
        ),
    ],
)  # fmt: skip
def test_metadata(path, value, expected):
    assert errors_of(scheme.PODS, POD, path, value) == expected


def test_no_finalizer_joins_a_deletion():
    old = changed(POD, ("metadata", "deletionTimestamp"), "2024-01-01T00:00:00Z")
    assert errors_of(scheme.PODS, old, ("metadata", "finalizers"), ["a.b/c"]) == [
        "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being "
        'deleted, found new finalizers []string{"a.b/c"}'
    ]


NOT_UPDATABLE = (
    "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only "
    "additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set "
    "to 1 if it was previously negative)"
)


@pytest.mark.parametrize(
    ("old", "path", "value", "expected"),
    [
        pytest.param(POD, ("spec", "containers", 0, "image"), "i:2", [], id="image"),
        pytest.param(POD, ("spec", "activeDeadlineSeconds"), 50, [], id="a shorter deadline"),
        pytest.param(
            POD, ("spec", "activeDeadlineSeconds"), 150,
            ["spec.activeDeadlineSeconds: Invalid value: 150: must be less than or equal to "
             "previous value"], id="a longer deadline",
        ),
        pytest.param(
            POD, ("spec", "activeDeadlineSeconds"), None,
            ["spec.activeDeadlineSeconds: Invalid value: \"null\": must not update from a positive "
             "integer to nil value"], id="no deadline any more",
        ),
        pytest.param(
            POD, ("spec", "tolerations"),
            [{"key": "a", "operator": "Exists"}, {"key": "b", "operator": "Exists"}], [],
            id="one more toleration",
        ),
        pytest.param(
            POD, ("spec", "tolerations"), [],
            ["spec.tolerations: Forbidden: existing toleration can not be modified except its "
             "tolerationSeconds"], id="a toleration less",
        ),
        pytest.param(
            POD, ("spec", "containers"), [],
            ["spec.containers: Required value",
             "spec.containers: Forbidden: pod updates may not add or remove containers"],
            id="no containers",
        ),
        pytest.param(POD, ("spec", "restartPolicy"), "Never", [NOT_UPDATABLE], id="restartPolicy"),
        pytest.param(POD, ("spec", "nodeName"), "n", [NOT_UPDATABLE], id="nodeName"),
        pytest.param(POD, ("spec", "nodeSelector"), {"a": "b"}, [NOT_UPDATABLE], id="selector"),
        pytest.param(GATED, ("spec", "schedulingGates"), [], [], id="a gate opens"),
        pytest.param(
            GATED, ("spec", "schedulingGates"), [{"name": "g"}, {"name": "h"}],
            ["spec.schedulingGates[1].name: Forbidden: only deletion is allowed, but found new "
             "scheduling gate 'h'"], id="a new gate",
        ),
        pytest.param(
            GATED, ("spec", "nodeSelector"), {"a": "b", "c": "d"}, [], id="gated: narrower",
        ),
        pytest.param(
            GATED, ("spec", "affinity"),
            {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "Exists"}]}]
            }}}, [], id="gated: a node affinity",
        ),
        pytest.param(
            GATED, ("spec", "nodeSelector"), {"c": "d"},
            ['spec.nodeSelector: Invalid value: map[string]string{"c":"d"}: '
             "only additions to spec.nodeSelector are allowed (no mutations or deletions)"],
            id="gated: wider",
        ),
    ],
)  # fmt: skip
def test_pods(old, path, value, expected):
    assert errors_of(scheme.PODS, old, path, value) == expected


def test_the_difference_is_told():
    new = message(scheme.PODS, changed(POD, ("spec", "restartPolicy"), "Never"))
    (error,) = validation.validate_update(scheme.PODS, new, message(scheme.PODS, POD))
    assert '-  "restartPolicy": "Always"' in error.message
    assert '+  "restartPolicy": "Never"' in error.message


@pytest.mark.parametrize(
    ("resource", "old", "path", "value", "expected"),
    [
        pytest.param(
            scheme.DEPLOYMENTS, DEPLOYMENT, ("spec", "replicas"), 5, [], id="replicas",
        ),
        pytest.param(
            scheme.DEPLOYMENTS, DEPLOYMENT, ("spec", "selector"), {"matchLabels": {"x": "y"}},
            ['spec.template.metadata.labels: Invalid value: map[string]string{"a":"b"}: '
             "`selector` does not match template `labels`",
             "spec.selector: Invalid value: v1.LabelSelector{MatchLabels:map[string]string{"
             '"x":"y"}, MatchExpressions:[]v1.LabelSelectorRequirement(nil)}: field is immutable'],
            id="a Deployment's selector",
        ),
        pytest.param(
            scheme.CONFIGMAPS, {"metadata": META, "immutable": True, "data": {"a": "b"}},
            ("data",), {"a": "c"},
            ["data: Forbidden: field is immutable when `immutable` is set"], id="ConfigMap",
        ),
        pytest.param(
            scheme.SECRETS, {"metadata": META, "type": "a"}, ("type",), "b",
            ['type: Invalid value: "b": field is immutable'], id="a Secret's type",
        ),
        pytest.param(
            scheme.PRIORITYCLASSES, {"metadata": CLUSTER_META, "value": 1}, ("value",), 2,
            ["value: Forbidden: may not be changed in an update."], id="PriorityClass",
        ),
        pytest.param(
            scheme.NODES, {"metadata": CLUSTER_META, "spec": {"podCIDR": "10.0.0.0/24"}},
            ("spec", "podCIDR"), "10.1.0.0/24",
            ['spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to '
             "valid"], id="a Node's podCIDR",
        ),
        pytest.param(
            scheme.ROLEBINDINGS,
            {"metadata": META, "roleRef": {"kind": "Role", "name": "a"}},
            ("roleRef", "name"), "b",
            ['roleRef: Invalid value: rbac.RoleRef{APIGroup:"rbac.authorization.k8s.io", '
             'Kind:"Role", Name:"b"}: cannot change roleRef'], id="roleRef",
        ),
        pytest.param(
            scheme.STATEFULSETS,
            {"metadata": META, "spec": {**DEPLOYMENT["spec"], "serviceName": "s"}},
            ("spec", "serviceName"), "t",
            ["spec: Forbidden: updates to statefulset spec for fields other than 'replicas', "
             "'ordinals', 'template', 'updateStrategy', 'persistentVolumeClaimRetentionPolicy' "
             "and 'minReadySeconds' are forbidden"], id="a StatefulSet's service",
        ),
        pytest.param(
            scheme.STATEFULSETS,
            {"metadata": META, "spec": {**DEPLOYMENT["spec"], "serviceName": "s"}},
            ("spec", "replicas"), 3, [], id="a StatefulSet's replicas",
        ),
    ],
)  # fmt: skip
def test_other_kinds(resource, old, path, value, expected):
    assert errors_of(resource, old, path, value) == expected


@pytest.mark.parametrize("resource", list(scheme.resources()), ids=repr)
def test_an_unchanged_object_is_judged_without_a_traceback(resource):
    if resource.group.startswith("auth"):
        return
    found = validation.validate_update(resource, resource.message(), resource.message())
    assert "metadata.resourceVersion" in {error.path for error in found}
