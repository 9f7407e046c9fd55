"""LimitRanger: defaults, bounds and upstream's words.

Recorded from kube-apiserver 1.32.4: the annotation, and the cases over the maximum and under the
minimum. The messages of missing amounts and of claims follow upstream's source and were not run.
"""

import pytest

from apiserver.admission.interface import Attributes
from apiserver.admission.limit_ranger import LimitRanger
from apiserver.verbs.interface import Target, UserInfo
from podpath.api import scheme
from podpath.api.errors import ApiError
from protos.k8s.core_v1_pb2 import LimitRange, PersistentVolumeClaim, Pod
from protos.k8s.meta_v1_pb2 import ObjectMeta
from tests.support.fake_lister import FakeLister


def limit_range(*items):
    made = LimitRange(metadata=ObjectMeta(name="lr", namespace="default"))
    for kind, bounds in items:
        item = made.spec.limits.add(type=kind)
        for field, given in bounds.items():
            for name, text in given.items():
                getattr(item, field)[name].string = text
    return made


RANGE = limit_range(
    (
        "Container",
        {
            "default": {"cpu": "500m", "memory": "1Gi"},
            "defaultRequest": {"cpu": "200m", "memory": "64Mi"},
            "min": {"cpu": "100m"},
            "max": {"cpu": "1", "memory": "1Gi"},
            "maxLimitRequestRatio": {"cpu": "4"},
        },
    ),
    ("Pod", {"max": {"cpu": "2"}}),
    ("PersistentVolumeClaim", {"min": {"storage": "1Gi"}, "max": {"storage": "10Gi"}}),
)


def pod(*containers, init=()):
    made = Pod(metadata=ObjectMeta(name="x", namespace="default"))
    for index, given in enumerate(containers):
        _fill(made.spec.containers.add(name="abc"[index]), given)
    for given in init:
        _fill(made.spec.initContainers.add(name="i"), given)
    return made


def _fill(container, given):
    for field, amounts in given.items():
        for name, text in amounts.items():
            getattr(container.resources, field)[name].string = text


def attributes(obj, resource=scheme.PODS, operation="CREATE"):
    return Attributes(UserInfo("u"), Target(resource, "default", "x"), operation, obj, None)


def plugin(*ranges):
    return LimitRanger(FakeLister(*((scheme.LIMITRANGES, r) for r in ranges or (RANGE,))))


def shown(amounts):
    return {name: amount.string for name, amount in amounts.items()}


async def test_defaults_and_their_annotation():
    made = pod({}, init=[{}])
    await plugin().admit(attributes(made))
    assert made.metadata.annotations["kubernetes.io/limit-ranger"] == (
        "LimitRanger plugin set: cpu, memory request for container a; cpu, memory limit for "
        "container a; cpu, memory request for init container i; cpu, memory limit for init "
        "container i"
    )
    for container in (made.spec.containers[0], made.spec.initContainers[0]):
        assert shown(container.resources.limits) == {"cpu": "500m", "memory": "1Gi"}
        assert shown(container.resources.requests) == {"cpu": "200m", "memory": "64Mi"}
    await plugin().validate(attributes(made))


async def test_own_amounts_stay():
    made = pod({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1", "memory": "1"}})
    await plugin().admit(attributes(made))
    assert "kubernetes.io/limit-ranger" not in made.metadata.annotations
    assert shown(made.spec.containers[0].resources.limits) == {"cpu": "1", "memory": "1Gi"}


FULL = {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1", "memory": "1Gi"}}
TOO_MUCH = {"limits": {"cpu": "3", "memory": "2Gi"}, "requests": {"cpu": "3", "memory": "2Gi"}}


@pytest.mark.parametrize(
    ("containers", "cause"),
    [
        pytest.param(
            [TOO_MUCH, FULL, FULL],
            "[maximum cpu usage per Container is 1, but limit is 3, maximum memory usage per "
            "Container is 1Gi, but limit is 2Gi, maximum cpu usage per Pod is 2, but limit is 5]",
            id="over the maximum",
        ),
        pytest.param(
            [
                {"limits": {"cpu": "500m", "memory": "1Gi"}, "requests": {"cpu": "50m"}},
                FULL,
                FULL,
            ],
            "[minimum cpu usage per Container is 100m, but request is 50m, cpu max limit to "
            "request ratio per Container is 4, but provided ratio is 10.000000, maximum cpu usage "
            "per Pod is 2, but limit is 2500m]",
            id="under the minimum",
        ),
        pytest.param(
            [{"requests": {"cpu": "100m"}, "limits": {"cpu": "400m"}}],
            "maximum memory usage per Container is 1Gi.  No limit is specified",
            id="no limit",
        ),
        pytest.param(
            [{"limits": {"cpu": "1", "memory": "1Gi"}}],
            "[minimum cpu usage per Container is 100m.  No request is specified, cpu max limit to "
            "request ratio per Container is 4, but no request is specified or request is 0]",
            id="no request",
        ),
    ],
)
async def test_bounds_of_pods(containers, cause):
    with pytest.raises(ApiError) as raised:
        await plugin().validate(attributes(pod(*containers)))
    assert str(raised.value) == f'pods "x" is forbidden: {cause}'


@pytest.mark.parametrize(
    ("init", "fits"),
    [
        pytest.param({"limits": {"cpu": "2"}}, True, id="init runs before"),
        pytest.param({"limits": {"cpu": "3"}}, False, id="init alone is too much"),
    ],
)
async def test_pods_count_the_larger_of_init_and_sum(init, fits):
    only_pod = limit_range(("Pod", {"max": {"cpu": "2"}}))
    made = pod({"limits": {"cpu": "1"}}, {"limits": {"cpu": "1"}}, init=[init])
    if fits:
        await plugin(only_pod).validate(attributes(made))
        made.spec.initContainers[0].restartPolicy = "Always"  # a sidecar runs along
    with pytest.raises(ApiError, match="maximum cpu usage per Pod is 2"):
        await plugin(only_pod).validate(attributes(made))


@pytest.mark.parametrize(
    ("storage", "cause"),
    [
        ("5Gi", ""),
        ("1Mi", "minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 1Mi"),
        ("1Ti", "maximum storage usage per PersistentVolumeClaim is 10Gi, but request is 1Ti"),
    ],
)
async def test_bounds_of_claims(storage, cause):
    claim = PersistentVolumeClaim(metadata=ObjectMeta(name="x", namespace="default"))
    claim.spec.resources.requests["storage"].string = storage
    asked = attributes(claim, scheme.PERSISTENTVOLUMECLAIMS)
    assert plugin().handles(asked)
    await plugin().admit(asked)
    if not cause:
        await plugin().validate(asked)
        return
    with pytest.raises(ApiError) as raised:
        await plugin().validate(asked)
    assert str(raised.value) == f'persistentvolumeclaims "x" is forbidden: {cause}'


async def test_other_namespaces_limits_do_not_count():
    other = LimitRange()
    other.CopyFrom(RANGE)
    other.metadata.namespace = "other"
    made = pod({})
    await plugin(other).admit(attributes(made))
    await plugin(other).validate(attributes(made))
    assert not made.spec.containers[0].resources.limits


def test_updates_of_pods_are_not_looked_at():
    assert not plugin().handles(attributes(pod({}), operation="UPDATE"))
