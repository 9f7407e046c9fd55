"""What kubelets may do, and the messages of the whole authorizer."""

import pytest

from apiserver.authorization.authorizer import ClusterAuthorizer
from apiserver.authorization.interface import Attributes, for_target
from apiserver.bootstrap.objects import bootstrap_objects
from apiserver.verbs.interface import Selectors, Target, UserInfo
from podpath.api import scheme
from podpath.api.errors import ApiError
from protos.k8s.core_v1_pb2 import PersistentVolume, Pod
from protos.k8s.meta_v1_pb2 import ObjectMeta
from protos.k8s.storage_v1_pb2 import VolumeAttachment
from tests.support.fake_lister import FakeLister

NODE = UserInfo("system:node:n1", groups=("system:nodes", "system:authenticated"))


def pod(name="p", node="n1", uid="u1"):
    made = Pod(metadata=ObjectMeta(name=name, namespace="ns", uid=uid))
    made.spec.nodeName = node
    made.spec.serviceAccountName = "bot"
    made.spec.imagePullSecrets.add(name="pull")
    container = made.spec.containers.add(name="c")
    container.env.add(name="e").valueFrom.secretKeyRef.localObjectReference.name = "env-secret"
    container.envFrom.add().configMapRef.localObjectReference.name = "env-map"
    projected = made.spec.volumes.add(name="v1").volumeSource.projected
    projected.sources.add().configMap.localObjectReference.name = "root-ca"
    made.spec.volumes.add(name="v2").volumeSource.secret.secretName = "vol-secret"
    made.spec.volumes.add(name="v3").volumeSource.persistentVolumeClaim.claimName = "claim"
    made.spec.volumes.add(name="v4").volumeSource.ephemeral.SetInParent()
    return made


def volume(secret="csi-secret"):
    made = PersistentVolume(metadata=ObjectMeta(name="pv"))
    made.spec.claimRef.namespace, made.spec.claimRef.name = "ns", "claim"
    ref = made.spec.persistentVolumeSource.csi.nodeStageSecretRef
    ref.namespace, ref.name = "store", secret
    return made


@pytest.fixture
def lister():
    made = FakeLister()
    for wanted in bootstrap_objects():
        for obj in wanted.objects:
            made.put(wanted.resource, obj)
    return made


@pytest.fixture
def authorizer(lister):
    return ClusterAuthorizer(lister, lister)


def ask(authorizer, verb, resource, namespace="", name="", subresource="", fields="", user=NODE):
    target = Target(resource, namespace, name, subresource)
    return authorizer.authorize(for_target(user, verb, target, Selectors(fields=fields)))


RELATED = [
    pytest.param(scheme.SECRETS, "ns", "pull", id="image pull secret"),
    pytest.param(scheme.SECRETS, "ns", "env-secret", id="secret of a variable"),
    pytest.param(scheme.SECRETS, "ns", "vol-secret", id="secret of a volume"),
    pytest.param(scheme.SECRETS, "store", "csi-secret", id="secret of a bound volume"),
    pytest.param(scheme.CONFIGMAPS, "ns", "env-map", id="configmap of variables"),
    pytest.param(scheme.CONFIGMAPS, "ns", "root-ca", id="configmap of a projection"),
    pytest.param(scheme.PERSISTENTVOLUMECLAIMS, "ns", "claim", id="claim"),
    pytest.param(scheme.PERSISTENTVOLUMECLAIMS, "ns", "p-v4", id="ephemeral volume's claim"),
    pytest.param(scheme.PERSISTENTVOLUMES, "", "pv", id="the claim's volume"),
    pytest.param(scheme.PODS, "ns", "p", id="the Pod itself"),
]


@pytest.mark.parametrize(("resource", "namespace", "name"), RELATED)
def test_reads_follow_the_pods(lister, authorizer, resource, namespace, name):
    refused = "no relationship found between node 'n1' and this object"
    before = ask(authorizer, "get", resource, namespace, name)
    assert (before.allowed, before.reason) == (False, refused)

    lister.put(scheme.PERSISTENTVOLUMES, volume())
    lister.put(scheme.PODS, pod(node=""))
    assert not ask(authorizer, "get", resource, namespace, name).allowed
    lister.put(scheme.PODS, pod())  # bound
    assert ask(authorizer, "get", resource, namespace, name).allowed
    updated = pod()
    updated.status.phase = "Running"
    lister.put(scheme.PODS, updated)
    assert ask(authorizer, "get", resource, namespace, name).allowed

    stranger = UserInfo("system:node:n2", groups=("system:nodes",))
    assert not ask(authorizer, "get", resource, namespace, name, user=stranger).allowed
    lister.remove(scheme.PODS, "ns", "p")
    assert not ask(authorizer, "get", resource, namespace, name).allowed


def test_an_object_stays_readable_while_one_of_two_pods_uses_it(lister, authorizer):
    lister.put(scheme.PODS, pod("p"))
    lister.put(scheme.PODS, pod("q", uid="u2"))
    lister.remove(scheme.PODS, "ns", "p")
    assert ask(authorizer, "get", scheme.SECRETS, "ns", "pull").allowed
    lister.remove(scheme.PODS, "ns", "q")
    assert not ask(authorizer, "get", scheme.SECRETS, "ns", "pull").allowed


def test_mirror_pods_give_no_rights(lister, authorizer):
    mirror = pod()
    mirror.metadata.annotations["kubernetes.io/config.mirror"] = "x"
    lister.put(scheme.PODS, mirror)
    assert not ask(authorizer, "get", scheme.SECRETS, "ns", "pull").allowed
    assert ask(authorizer, "get", scheme.PODS, "ns", "p").allowed


def test_a_volume_that_loses_its_secret(lister, authorizer):
    lister.put(scheme.PODS, pod())
    lister.put(scheme.PERSISTENTVOLUMES, volume())
    lister.put(scheme.PERSISTENTVOLUMES, volume("other"))
    assert not ask(authorizer, "get", scheme.SECRETS, "store", "csi-secret").allowed
    assert ask(authorizer, "get", scheme.SECRETS, "store", "other").allowed


def test_attachments(lister, authorizer):
    attachment = VolumeAttachment(metadata=ObjectMeta(name="a"))
    attachment.spec.nodeName = "n1"
    lister.put(scheme.VOLUMEATTACHMENTS, attachment)
    assert ask(authorizer, "get", scheme.VOLUMEATTACHMENTS, "", "a").allowed
    lister.remove(scheme.VOLUMEATTACHMENTS, "", "a")
    assert not ask(authorizer, "get", scheme.VOLUMEATTACHMENTS, "", "a").allowed


OWN = "spec.nodeName=n1"


@pytest.mark.parametrize(
    ("verb", "resource", "namespace", "name", "subresource", "fields", "allowed"),
    [
        ("create", scheme.NODES, "", "", "", "", True),
        ("get", scheme.NODES, "", "n1", "", "", True),
        ("get", scheme.NODES, "", "n2", "", "", False),
        ("watch", scheme.NODES, "", "", "", "metadata.name=n1", True),
        ("list", scheme.NODES, "", "", "", "", False),
        ("delete", scheme.NODES, "", "n1", "", "", False),
        ("patch", scheme.NODES, "", "n1", "status", "", True),
        ("get", scheme.NODES, "", "n1", "proxy", "", False),
        ("list", scheme.PODS, "", "", "", OWN, True),
        ("watch", scheme.PODS, "", "", "", OWN, True),
        ("watch", scheme.PODS, "", "", "", "status.phase!=x,spec.nodeName==n1", True),
        ("list", scheme.PODS, "", "", "", "spec.nodeName=n2", False),
        ("list", scheme.PODS, "", "", "", "spec.nodeName!=n1", False),
        ("list", scheme.PODS, "", "", "", "", False),
        ("watch", scheme.PODS, "ns", "", "", "metadata.name=p", True),
        ("patch", scheme.PODS, "ns", "p", "status", "", True),
        ("update", scheme.PODS, "ns", "p", "", "", False),
        ("delete", scheme.PODS, "ns", "p", "", "", True),
        ("create", scheme.PODS, "ns", "p", "eviction", "", True),
        ("create", scheme.PODS, "ns", "p", "binding", "", False),
        ("create", scheme.SERVICEACCOUNTS, "ns", "bot", "token", "", True),
        ("create", scheme.SERVICEACCOUNTS, "ns", "other", "token", "", False),
        ("get", scheme.SERVICEACCOUNTS, "ns", "bot", "", "", False),
        ("watch", scheme.SECRETS, "ns", "", "", "metadata.name=pull", True),
        ("list", scheme.SECRETS, "ns", "", "", "", False),
        ("update", scheme.SECRETS, "ns", "pull", "", "", False),
        ("update", scheme.PERSISTENTVOLUMECLAIMS, "ns", "claim", "status", "", True),
        ("list", scheme.PERSISTENTVOLUMECLAIMS, "ns", "", "", "", False),
        ("update", scheme.LEASES, "kube-node-lease", "n1", "", "", True),
        ("update", scheme.LEASES, "kube-node-lease", "n2", "", "", False),
        ("create", scheme.LEASES, "kube-node-lease", "", "", "", True),
        ("get", scheme.LEASES, "kube-system", "n1", "", "", False),
        ("list", scheme.LEASES, "kube-node-lease", "", "", "", False),
        ("get", scheme.CSINODES, "", "n1", "", "", True),
        ("get", scheme.CSINODES, "", "n2", "", "", False),
        ("list", scheme.SERVICES, "", "", "", "", True),
        ("watch", scheme.RUNTIMECLASSES, "", "", "", "", True),
        ("create", scheme.EVENTS, "ns", "", "", "", True),
        ("create", scheme.SUBJECTACCESSREVIEWS, "", "", "", "", True),
        ("get", scheme.DEPLOYMENTS, "ns", "d", "", "", False),
        ("get", scheme.NAMESPACES, "", "ns", "", "", False),
    ],
)
def test_rules(lister, authorizer, verb, resource, namespace, name, subresource, fields, allowed):
    lister.put(scheme.PODS, pod())
    decision = ask(authorizer, verb, resource, namespace, name, subresource, fields)
    assert decision.allowed is allowed, decision.reason


@pytest.mark.parametrize(
    "user",
    [
        UserInfo("system:node:n1"),
        UserInfo("n1", groups=("system:nodes",)),
        UserInfo("system:node:", groups=("system:nodes",)),
    ],
)
def test_who_is_no_kubelet(lister, authorizer, user):
    lister.put(scheme.PODS, pod())
    assert not ask(authorizer, "get", scheme.SECRETS, "ns", "pull", user=user).allowed


# Recorded from kube-apiserver 1.32.4, but for the last one (escaping).
@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        (
            for_target(NODE, "list", Target(scheme.SECRETS)),
            'secrets is forbidden: User "system:node:n1" cannot list resource "secrets" in API '
            'group "" at the cluster scope: can only read namespaced object of this type',
        ),
        (
            for_target(NODE, "list", Target(scheme.SECRETS, "default")),
            'secrets is forbidden: User "system:node:n1" cannot list resource "secrets" in API '
            'group "" in the namespace "default": No Object name found',
        ),
        (
            for_target(NODE, "get", Target(scheme.SECRETS, "default", "x")),
            'secrets "x" is forbidden: User "system:node:n1" cannot get resource "secrets" in API '
            'group "" in the namespace "default": no relationship found between node \'n1\' and '
            "this object",
        ),
        (
            Attributes(NODE, "get", path="/foo"),
            'forbidden: User "system:node:n1" cannot get path "/foo"',
        ),
        (
            for_target(NODE, "get", Target(scheme.NODES, "", "n2")),
            'nodes "n2" is forbidden: User "system:node:n1" cannot get resource "nodes" in API '
            "group \"\" at the cluster scope: node 'n1' cannot read 'n2', only its own Node object",
        ),
        (
            for_target(NODE, "list", Target(scheme.PODS)),
            'pods is forbidden: User "system:node:n1" cannot list resource "pods" in API group "" '
            "at the cluster scope: can only list/watch pods with spec.nodeName field selector",
        ),
        (
            for_target(NODE, "get", Target(scheme.NAMESPACES, "", "default")),
            'namespaces "default" is forbidden: User "system:node:n1" cannot get resource '
            '"namespaces" in API group "" in the namespace "default"',
        ),
        (
            for_target(NODE, "get", Target(scheme.DEPLOYMENTS, "default", "x", "scale")),
            'deployments.apps "x" is forbidden: User "system:node:n1" cannot get resource '
            '"deployments/scale" in API group "apps" in the namespace "default"',
        ),
        (
            for_target(UserInfo('a"<b>'), "list", Target(scheme.PODS, "y")),
            'pods is forbidden: User "a\\"&lt;b&gt;" cannot list resource "pods" in API group "" '
            'in the namespace "y"',
        ),
    ],
)
def test_messages(authorizer, attributes, message):
    with pytest.raises(ApiError) as raised:
        authorizer.require(attributes)
    assert str(raised.value) == message
    assert (raised.value.code, raised.value.reason) == (403, "Forbidden")
