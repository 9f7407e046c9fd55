"""What a DELETE does to an object."""

from datetime import UTC, datetime

import pytest

from apiserver.registry import deletion
from apiserver.registry.core.namespace import NamespaceStrategy
from apiserver.registry.core.pod import PodStrategy
from apiserver.registry.deletion import Fate
from apiserver.registry.strategy import GenericStrategy
from podpath.api import scheme
from podpath.api.errors import ApiError
from protos.k8s.core_v1_pb2 import ConfigMap, Namespace, Pod
from protos.k8s.meta_v1_pb2 import DeleteOptions

NOW = datetime(2024, 1, 2, tzinfo=UTC)
SECOND = int(NOW.timestamp())
PODS = PodStrategy(scheme.PODS)
CONFIG_MAPS = GenericStrategy(scheme.CONFIGMAPS)


def pod(node="n", phase="Running", grace=30, deleting=None, finalizers=()):
    obj = Pod()
    obj.metadata.name, obj.metadata.uid = "a", "u"
    obj.metadata.generation = 1
    obj.metadata.finalizers.extend(finalizers)
    obj.spec.nodeName, obj.status.phase = node, phase
    obj.spec.terminationGracePeriodSeconds = grace
    if deleting is not None:
        obj.metadata.deletionTimestamp.seconds = SECOND + deleting
        obj.metadata.deletionGracePeriodSeconds = deleting
    return obj


def options(grace=None, policy=""):
    found = DeleteOptions()
    if grace is not None:
        found.gracePeriodSeconds = grace
    if policy:
        found.propagationPolicy = policy
    return found


@pytest.mark.parametrize(
    ("obj", "wanted", "fate", "grace"),
    [
        pytest.param(pod(), options(), Fate.MARK, 30, id="its own grace period"),
        pytest.param(pod(), options(5), Fate.MARK, 5, id="the client's"),
        pytest.param(pod(), options(-1), Fate.MARK, 1, id="negative is one second"),
        pytest.param(pod(), options(0), Fate.REMOVE, None, id="forced"),
        pytest.param(pod(node=""), options(), Fate.REMOVE, None, id="unscheduled"),
        pytest.param(pod(phase="Failed"), options(), Fate.REMOVE, None, id="ended"),
        pytest.param(pod(deleting=30), options(), Fate.PENDING, 30, id="again"),
        pytest.param(pod(deleting=30), options(60), Fate.PENDING, 30, id="again, longer"),
        pytest.param(pod(deleting=30), options(10), Fate.MARK, 10, id="again, shorter"),
        pytest.param(pod(deleting=30), options(0), Fate.REMOVE, None, id="the kubelet's last"),
        pytest.param(
            pod(node="", finalizers=("x/y",)), options(), Fate.MARK, 0, id="held by a finalizer"
        ),
        pytest.param(
            pod(deleting=0, finalizers=("x/y",)), options(0), Fate.PENDING, 0, id="still held"
        ),
    ],
)
def test_pods(obj, wanted, fate, grace):
    before = obj.SerializeToString(deterministic=True)
    found, marked = deletion.decide(PODS, obj, wanted, NOW)
    assert found is fate
    assert obj.SerializeToString(deterministic=True) == before
    if grace is not None:
        assert marked.metadata.deletionGracePeriodSeconds == grace
        assert marked.metadata.deletionTimestamp.seconds == SECOND + grace


def test_a_deletion_is_a_new_generation():
    _, marked = deletion.decide(PODS, pod(), options(), NOW)
    assert marked.metadata.generation == 2


@pytest.mark.parametrize(
    ("before", "wanted", "after"),
    [
        pytest.param([], options(policy="Foreground"), ["foregroundDeletion"], id="foreground"),
        pytest.param([], options(policy="Orphan"), ["orphan"], id="orphan"),
        pytest.param(["orphan"], options(policy="Background"), [], id="background"),
        pytest.param(["orphan"], options(), ["orphan"], id="as it is"),
        pytest.param(["a/b"], options(policy="Orphan"), ["a/b", "orphan"], id="beside others"),
        pytest.param([], DeleteOptions(orphanDependents=True), ["orphan"], id="old field"),
    ],
)
def test_propagation_policies_are_finalizers(before, wanted, after):
    obj = ConfigMap()
    obj.metadata.name = "c"
    obj.metadata.finalizers.extend(before)
    fate, marked = deletion.decide(CONFIG_MAPS, obj, wanted, NOW)
    assert list(marked.metadata.finalizers) == after
    assert fate is (Fate.MARK if after else Fate.REMOVE)


def test_namespaces_wait_for_their_content():
    obj = Namespace()
    obj.spec.finalizers.append("kubernetes")
    strategy = NamespaceStrategy(scheme.NAMESPACES)
    fate, marked = deletion.decide(strategy, obj, options(), NOW)
    assert (fate, marked.status.phase) == (Fate.MARK, "Terminating")
    assert not deletion.finished(strategy, marked)
    assert deletion.decide(strategy, marked, options(), NOW)[0] is Fate.PENDING
    del marked.spec.finalizers[:]
    assert deletion.finished(strategy, marked)


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        pytest.param(
            "uid",
            "v",
            "the UID in the precondition (v) does not match the UID in record (u).",
            id="uid",
        ),
        pytest.param(
            "resourceVersion",
            "8",
            "the ResourceVersion in the precondition (8) does not match the ResourceVersion in "
            "record (7). The object might have been modified",
            id="version",
        ),
    ],
)
def test_preconditions(field, value, text):
    obj = pod()
    obj.metadata.resourceVersion = "7"
    wanted = DeleteOptions()
    setattr(wanted.preconditions, field, value)
    with pytest.raises(ApiError) as caught:
        deletion.check_preconditions(scheme.PODS, obj, wanted)
    assert caught.value.reason == "Conflict"
    assert text in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(options(policy="Sideways"), id="unknown policy"),
        pytest.param(
            DeleteOptions(propagationPolicy="Orphan", orphanDependents=True), id="both fields"
        ),
    ],
)
def test_wrong_options(wrong):
    with pytest.raises(ApiError) as caught:
        deletion.validate_options(wrong)
    assert (caught.value.reason, caught.value.code) == ("Invalid", 422)
