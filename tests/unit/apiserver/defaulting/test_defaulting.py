"""Beyond upstream's vectors, which tests/contract/test_golden_vectors.py holds."""

import pytest

from apiserver.defaulting import apply_defaults
from apiserver.defaulting.pod import image_tag
from podpath.api import json_codec, scheme


def defaulted(resource, tree):
    message = json_codec.from_json(resource.message, tree).message
    apply_defaults(resource, message)
    return json_codec.to_json(message)


@pytest.mark.parametrize(
    ("image", "tag"),
    [
        ("busybox", "latest"),
        ("busybox:1", "1"),
        ("host:5000/a/b", "latest"),
        ("host:5000/a/b:v2", "v2"),
        ("a@sha256:" + "0" * 64, ""),
        ("a:v1@sha256:" + "0" * 64, "v1"),
        ("Upper", ""),
        ("", ""),
    ],
)
def test_image_tags(image, tag):
    assert image_tag(image) == tag


@pytest.mark.parametrize(
    ("resource", "tree", "path", "expected"),
    [
        pytest.param(
            scheme.PODS, {"spec": {"serviceAccountName": "sa"}},
            ("spec", "serviceAccount"), "sa", id="the old name of the service account",
        ),
        pytest.param(
            scheme.PODS, {"spec": {"serviceAccount": "sa"}},
            ("spec", "serviceAccountName"), "sa", id="the new name from the old",
        ),
        pytest.param(
            scheme.PODS,
            {"spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "1"}}}]}},
            ("spec", "containers", 0, "resources", "requests"), {"cpu": "1"},
            id="requests from limits",
        ),
        pytest.param(
            scheme.PODS,
            {"spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "1n"}}}]}},
            ("spec", "containers", 0, "resources", "limits"), {"cpu": "1m"},
            id="amounts are rounded up to thousandths",
        ),
        pytest.param(
            scheme.PODS, {"spec": {"volumes": [{"name": "v"}]}},
            ("spec", "volumes", 0), {"name": "v", "emptyDir": {}}, id="emptyDir",
        ),
        pytest.param(
            scheme.SECRETS, {"stringData": {"a": "b"}, "data": {"c": "ZA=="}},
            ("data",), {"a": "Yg==", "c": "ZA=="}, id="stringData",
        ),
        pytest.param(
            scheme.NAMESPACES, {"metadata": {"name": "n"}},
            ("metadata", "labels"), {"kubernetes.io/metadata.name": "n"}, id="namespace label",
        ),
        pytest.param(
            scheme.STATEFULSETS, {"spec": {}},
            ("spec", "updateStrategy"),
            {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}, id="StatefulSet",
        ),
        pytest.param(
            scheme.ROLEBINDINGS,
            {"subjects": [{"kind": "User", "name": "u"}, {"kind": "ServiceAccount", "name": "s"}],
             "roleRef": {"kind": "Role", "name": "r"}},
            ("subjects",),
            [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "u"},
             {"kind": "ServiceAccount", "name": "s"}], id="RoleBinding",
        ),
        pytest.param(
            scheme.LIMITRANGES,
            {"spec": {"limits": [{"type": "Container", "max": {"cpu": "2"},
                                  "min": {"memory": "1Mi"}}]}},
            ("spec", "limits", 0, "defaultRequest"), {"cpu": "2", "memory": "1Mi"},
            id="LimitRange",
        ),
        pytest.param(
            scheme.STORAGECLASSES, {}, ("volumeBindingMode",), "Immediate", id="StorageClass",
        ),
        pytest.param(
            scheme.PERSISTENTVOLUMES, {"spec": {}},
            ("spec", "persistentVolumeReclaimPolicy"), "Retain", id="PersistentVolume",
        ),
    ],
)  # fmt: skip
def test_defaults(resource, tree, path, expected):
    found = defaulted(resource, tree)
    for step in path:
        found = found[step]
    assert found == expected


@pytest.mark.parametrize("resource", list(scheme.resources()), ids=repr)
def test_defaults_of_an_empty_object_are_stable(resource):
    message = json_codec.new(resource.message)
    apply_defaults(resource, message)
    once = message.SerializeToString(deterministic=True)
    apply_defaults(resource, message)
    assert message.SerializeToString(deterministic=True) == once
