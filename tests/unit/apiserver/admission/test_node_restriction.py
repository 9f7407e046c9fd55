"""NodeRestriction: kubelets write only what is theirs.

The messages for an ordinary Pod, another Node and labels at registration were recorded from
kube-apiserver 1.32.4; the others follow upstream's source and were not run.
"""

import pytest

from apiserver.admission.interface import Attributes
from apiserver.admission.node_restriction import NodeRestriction, forbidden_labels
from apiserver.verbs.interface import Target, UserInfo
from podpath.api import scheme
from podpath.api.errors import ApiError
from protos.k8s.authentication_v1_pb2 import TokenRequest
from protos.k8s.coordination_v1_pb2 import Lease
from protos.k8s.core_v1_pb2 import Node, PersistentVolumeClaim, Pod
from protos.k8s.meta_v1_pb2 import ObjectMeta
from protos.k8s.storage_v1_pb2 import CSINode
from tests.support.fake_lister import FakeLister

N1 = UserInfo("system:node:n1", groups=("system:nodes",))


def pod(node="n1", name="p", **labels):
    made = Pod(metadata=ObjectMeta(name=name, namespace="ns", uid="u", labels=labels))
    made.spec.nodeName = node
    return made


def mirror(node="n1"):
    made = pod(node, name="m")
    made.metadata.annotations["kubernetes.io/config.mirror"] = "h"
    made.metadata.ownerReferences.add(
        apiVersion="v1", kind="Node", name=node, uid="node-uid", controller=True
    )
    return made


def node(name="n1", taint="", **labels):
    made = Node(
        metadata=ObjectMeta(name=name, labels={k.replace("__", "/"): v for k, v in labels.items()})
    )
    if taint:
        made.spec.taints.add(key=taint, effect="NoSchedule")
    return made


def claim(size="1Gi", phase="", **labels):
    made = PersistentVolumeClaim(metadata=ObjectMeta(name="c", namespace="ns", labels=labels))
    made.status.capacity["storage"].string = size
    if phase:
        made.status.phase = phase
    return made


def token(kind="Pod", name="p", uid="u"):
    made = TokenRequest()
    made.spec.boundObjectRef.kind, made.spec.boundObjectRef.apiVersion = kind, "v1"
    made.spec.boundObjectRef.name, made.spec.boundObjectRef.uID = name, uid
    return made


def changed(obj, change):
    copied = type(obj)()
    copied.CopyFrom(obj)
    change(copied)
    return copied


LISTER = FakeLister(
    (scheme.PODS, pod()),
    (scheme.PODS, pod("n2", "q")),
    (scheme.NODES, Node(metadata=ObjectMeta(name="n1", uid="node-uid"))),
)


async def run(resource, operation, name, obj, old=None, subresource="", namespace="ns", user=N1):
    target = Target(resource, namespace if resource.namespaced else "", name, subresource)
    attributes = Attributes(user, target, operation, obj, old)
    plugin = NodeRestriction(LISTER)
    if plugin.handles(attributes):
        await plugin.admit(attributes)


def meta(kind, name, namespace=""):
    return kind(metadata=ObjectMeta(name=name, namespace=namespace))


P, N, S = scheme.PODS, scheme.NODES, scheme.SERVICEACCOUNTS


@pytest.mark.parametrize(
    ("resource", "operation", "name", "obj", "old", "subresource"),
    [
        pytest.param(P, "CREATE", "m", mirror(), None, "", id="mirror pod"),
        pytest.param(P, "DELETE", "p", None, None, "", id="delete own pod"),
        pytest.param(P, "DELETE", "p", None, pod(), "", id="delete own pod, known"),
        pytest.param(P, "UPDATE", "p", pod(), pod(), "status", id="own pod's status"),
        pytest.param(P, "CREATE", "p", None, None, "eviction", id="evict own pod"),
        pytest.param(N, "CREATE", "n1", node(kubernetes__io=""), None, "", id="own node"),
        pytest.param(N, "UPDATE", "n1", node(x="1"), node(), "", id="own label"),
        pytest.param(N, "UPDATE", "n1", node(), node(), "status", id="own node's status"),
        pytest.param(S, "CREATE", "bot", token(), None, "token", id="own pod's token"),
        pytest.param(
            scheme.CSINODES, "CREATE", "n1", meta(CSINode, "n1"), None, "", id="own CSINode"
        ),
        pytest.param(
            scheme.PERSISTENTVOLUMECLAIMS, "UPDATE", "c", claim("2Gi"), claim(), "status",
            id="claim's capacity",
        ),
        pytest.param(scheme.CONFIGMAPS, "UPDATE", "c", None, None, "", id="other resources"),
    ],
)  # fmt: skip
async def test_allowed(resource, operation, name, obj, old, subresource):
    await run(resource, operation, name, obj, old, subresource)


@pytest.mark.parametrize(
    ("resource", "operation", "name", "obj", "old", "subresource", "cause"),
    [
        pytest.param(
            P, "CREATE", "x", pod(), None, "",
            'pod does not have "kubernetes.io/config.mirror" annotation, node "n1" can only '
            "create mirror pods",
            id="ordinary pod",
        ),
        pytest.param(
            P, "CREATE", "m", mirror("n2"), None, "",
            'node "n1" can only create pods with spec.nodeName set to itself',
            id="another's mirror pod",
        ),
        pytest.param(
            P, "CREATE", "m", changed(mirror(), lambda p: p.metadata.ClearField("ownerReferences")),
            None, "", 'node "n1" can only create pods with an owner reference set to itself',
            id="mirror pod without owner",
        ),
        pytest.param(
            P, "CREATE", "m",
            changed(mirror(), lambda p: setattr(p.metadata.ownerReferences[0], "uid", "x")),
            None, "", "node n1 UID mismatch: expected x got node-uid",
            id="owned by an earlier node",
        ),
        pytest.param(
            P, "CREATE", "m",
            changed(mirror(), lambda p: setattr(p.spec, "serviceAccountName", "bot")),
            None, "", 'node "n1" can not create pods that reference a service account',
            id="mirror pod with account",
        ),
        pytest.param(
            P, "CREATE", "m", changed(mirror(), lambda p: p.spec.imagePullSecrets.add(name="s")),
            None, "", 'node "n1" can not create pods that reference secrets',
            id="mirror pod with secret",
        ),
        pytest.param(
            P, "DELETE", "q", None, None, "",
            'node "n1" can only delete pods with spec.nodeName set to itself',
            id="delete another's pod",
        ),
        pytest.param(
            P, "CREATE", "q", None, None, "eviction",
            "node n1 can only evict pods with spec.nodeName set to itself",
            id="evict another's pod",
        ),
        pytest.param(
            P, "UPDATE", "q", pod("n2"), pod("n2"), "status",
            'node "n1" can only update pod status for pods with spec.nodeName set to itself',
            id="another's status",
        ),
        pytest.param(
            P, "UPDATE", "p", pod(a="b"), pod(), "status",
            'node "n1" cannot update labels through pod status',
            id="labels through status",
        ),
        pytest.param(
            P, "CREATE", "p", None, None, "binding",
            "unexpected pod subresource \"binding\", only 'status' and 'eviction' are allowed",
            id="binding",
        ),
        pytest.param(
            N, "CREATE", "n2", node("n2"), None, "",
            'node "n1" is not allowed to modify node "n2"', id="another node",
        ),
        pytest.param(
            N, "CREATE", "n1",
            Node(metadata=ObjectMeta(name="n1", labels={
                "node-restriction.kubernetes.io/a": "b", "foo.kubernetes.io/z": "1",
                "kubernetes.io/os": "linux", "x": "y"})),
            None, "",
            'node "n1" is not allowed to set the following labels: foo.kubernetes.io/z, '
            "node-restriction.kubernetes.io/a",
            id="labels at registration",
        ),
        pytest.param(
            N, "UPDATE", "n1", node(), Node(metadata=ObjectMeta(
                name="n1", labels={"node-restriction.kubernetes.io/a": "b"})), "",
            "is not allowed to modify labels: node-restriction.kubernetes.io/a",
            id="removing a label",
        ),
        pytest.param(
            N, "UPDATE", "n1", node(), node(taint="t"), "",
            'node "n1" is not allowed to modify taints', id="removing a taint",
        ),
        pytest.param(
            S, "CREATE", "bot", TokenRequest(), None, "token",
            "node requested token not bound to a pod", id="unbound token",
        ),
        pytest.param(
            S, "CREATE", "bot", token(uid=""), None, "token",
            "node requested token with a pod binding without a uid", id="token without uid",
        ),
        pytest.param(
            S, "CREATE", "bot", token(name="q"), None, "token",
            "node requested token bound to a pod scheduled on a different node",
            id="token of another's pod",
        ),
        pytest.param(
            scheme.PERSISTENTVOLUMECLAIMS, "UPDATE", "c", claim(), claim(), "",
            "may only update PVC status", id="claim's spec",
        ),
        pytest.param(
            scheme.PERSISTENTVOLUMECLAIMS, "UPDATE", "c", claim(phase="Lost"), claim(), "status",
            'node "n1" is not allowed to update fields other than status.capacity and '
            "status.conditions",
            id="claim's phase",
        ),
        pytest.param(
            scheme.CSINODES, "CREATE", "n2", meta(CSINode, "n2"), None, "",
            "can only access CSINode with the same name as the requesting node",
            id="another's CSINode",
        ),
    ],
)  # fmt: skip
async def test_refused(resource, operation, name, obj, old, subresource, cause):
    with pytest.raises(ApiError) as raised:
        await run(resource, operation, name, obj, old, subresource)
    assert raised.value.reason == "Forbidden"
    assert str(raised.value).endswith(f"is forbidden: {cause}")


@pytest.mark.parametrize(
    ("namespace", "name", "fits"),
    [
        ("kube-node-lease", "n1", True),
        ("kube-node-lease", "n2", False),
        ("kube-system", "n1", False),
    ],
)
async def test_leases(namespace, name, fits):
    call = run(scheme.LEASES, "CREATE", name, meta(Lease, name, namespace), namespace=namespace)
    if fits:
        await call
    else:
        with pytest.raises(ApiError, match="can only access"):
            await call


async def test_others_are_not_restricted():
    await run(N, "UPDATE", "n2", node("n2"), node("n2", taint="t"), user=UserInfo("admin"))


async def test_a_node_without_a_name():
    nameless = UserInfo("system:node:", groups=("system:nodes",))
    with pytest.raises(ApiError, match="could not determine node from user"):
        await run(N, "UPDATE", "n2", node("n2"), node("n2"), user=nameless)


@pytest.mark.parametrize(
    ("label", "forbidden"),
    [
        ("x", False),
        ("example.com/x", False),
        ("kubernetes.io/hostname", False),
        ("kubernetes.io/role", True),
        ("node-role.kubernetes.io/control-plane", True),
        ("kubelet.kubernetes.io/x", False),
        ("a.node.kubernetes.io/x", False),
        ("node-restriction.kubernetes.io/x", True),
        ("a.node-restriction.kubernetes.io/x", True),
        ("x.k8s.io/y", True),
        ("notk8s.io/y", False),
        ("topology.kubernetes.io/zone", False),
    ],
)
def test_labels(label, forbidden):
    assert bool(forbidden_labels([label])) is forbidden
