"""Tables for the volume plugins."""

import asyncio

import pytest

from podpath.api import scheme
from podpath.client.memory import MemoryClient
from podpath.client.store import key_of
from protos.k8s.core_v1_pb2 import PersistentVolume, PersistentVolumeClaim
from protos.k8s.storage_v1_pb2 import CSIDriver, CSINode, CSIStorageCapacity, StorageClass
from scheduler.framework.status import Code
from scheduler.plugins.volume_binding import VolumeBinding
from scheduler.pod_info import PodInfo
from tests.support.scheduling import ZONE, Cluster, node, pod

BOUND = {"pv.kubernetes.io/bind-completed": "yes"}


def claim(
    name="c",
    volume="",
    storage_class="sc",
    annotations=None,
    size="1Gi",
    modes=("ReadWriteOnce",),
    phase="",
):
    built = PersistentVolumeClaim(
        metadata={"name": name, "namespace": "default", "uid": f"u-{name}"}
    )
    built.metadata.annotations.update(
        annotations if annotations is not None else (BOUND if volume else {})
    )
    built.spec.volumeName, built.spec.storageClassName = volume, storage_class
    built.spec.accessModes.extend(modes)
    built.spec.resources.requests["storage"].string = size
    built.status.phase = phase
    return (scheme.PERSISTENTVOLUMECLAIMS, built)


def volume(
    name="v", labels=None, zones=(), size="5Gi", storage_class="sc", handle="", phase="Available"
):
    built = PersistentVolume(metadata={"name": name, "labels": labels or {}})
    built.spec.capacity["storage"].string = size
    built.spec.accessModes.append("ReadWriteOnce")
    built.spec.storageClassName = storage_class
    if zones:
        term = built.spec.nodeAffinity.required.nodeSelectorTerms.add()
        term.matchExpressions.add(key=ZONE, operator="In", values=zones)
    if handle:
        built.spec.persistentVolumeSource.csi.driver = "csi"
        built.spec.persistentVolumeSource.csi.volumeHandle = handle
    built.status.phase = phase
    return (scheme.PERSISTENTVOLUMES, built)


def storage_class(mode="WaitForFirstConsumer", provisioner="csi", zones=()):
    built = StorageClass(metadata={"name": "sc"}, provisioner=provisioner)
    built.volumeBindingMode = mode
    if zones:
        built.allowedTopologies.add().matchLabelExpressions.add(key=ZONE, values=zones)
    return (scheme.STORAGECLASSES, built)


def with_claim(name="p", claim_name="c", **more):
    source = {"persistentVolumeClaim": {"claimName": claim_name}}
    return pod(name, volumes=[{"name": "v", "volumeSource": source}], **more)


def with_disk(name="p", read_only=False, kind="gcePersistentDisk", **more):
    source = {
        "gcePersistentDisk": {"gcePersistentDisk": {"pdName": "d", "readOnly": read_only}},
        "awsElasticBlockStore": {"awsElasticBlockStore": {"volumeID": "d", "readOnly": read_only}},
        "iscsi": {"iscsi": {"iqn": "d", "readOnly": read_only}},
        "rbd": {
            "rbd": {"monitors": ["m1", "m2"], "pool": "p", "image": "i", "readOnly": read_only}
        },
    }[kind]
    return pod(name, volumes=[{"name": "v", "volumeSource": source}], **more)


NODES = [node("a", zone="z1"), node("b", zone="z2")]
NONE = "node(s) didn't find available persistent volumes to bind"
AFFINITY = "node(s) didn't match PersistentVolume's node affinity"


@pytest.mark.parametrize(
    ("objects", "rejected"),
    [
        pytest.param([], {"": ['persistentvolumeclaim "c" not found']}, id="no such claim"),
        pytest.param(
            [claim(), storage_class("Immediate")],
            {"": ["pod has unbound immediate PersistentVolumeClaims"]},
            id="immediate",
        ),
        pytest.param([claim(volume="v"), volume()], {}, id="bound"),
        pytest.param(
            [claim(volume="v"), volume(zones=["z1"])], {"b": [AFFINITY]}, id="bound elsewhere"
        ),
        pytest.param(
            [claim(volume="v"), volume(labels={ZONE: "z2"})],
            {"a": ["node(s) had no available volume zone"]},
            id="zone label",
        ),
        pytest.param(
            [claim(volume="v"), volume(labels={ZONE: "z1__z2"})], {}, id="zone labels joined"
        ),
        pytest.param(
            [claim(volume="v", phase="Lost"), volume()],
            {"": ['persistentvolumeclaim "c" bound to non-existent persistentvolume "v"']},
            id="lost",
        ),
        pytest.param([claim(), storage_class()], {}, id="provisioned on first use"),
        pytest.param(
            [claim(), storage_class(zones=["z2"])], {"a": [NONE]}, id="provisioned in a zone"
        ),
        pytest.param(
            [claim(), storage_class(provisioner="kubernetes.io/no-provisioner")],
            {"a": [NONE], "b": [NONE]},
            id="nothing there, nothing made",
        ),
        pytest.param(
            [
                claim(),
                volume(zones=["z1"]),
                storage_class(provisioner="kubernetes.io/no-provisioner"),
            ],
            {"b": [NONE]},
            id="a free volume in one zone",
        ),
        pytest.param(
            [
                claim(size="9Gi"),
                volume(zones=["z1"]),
                storage_class(provisioner="kubernetes.io/no-provisioner"),
            ],
            {"a": [NONE], "b": [NONE]},
            id="too small",
        ),
        pytest.param(
            [claim(annotations={"volume.kubernetes.io/selected-node": "b"}), storage_class()],
            {"a": [NONE]},
            id="already being made",
        ),
        pytest.param(
            [
                claim(),
                storage_class(),
                (
                    scheme.CSIDRIVERS,
                    CSIDriver(metadata={"name": "csi"}, spec={"storageCapacity": True}),
                ),
            ],
            {n: ["node(s) did not have enough free storage"] for n in "ab"},
            id="no capacity published",
        ),
    ],
)
def test_claims(objects, rejected):
    assert Cluster(NODES, objects=objects).rejections(with_claim()) == rejected


def test_published_capacity_within_reach():
    capacity = CSIStorageCapacity(metadata={"name": "x", "namespace": "d"}, storageClassName="sc")
    capacity.nodeTopology.matchLabels[ZONE] = "z2"
    capacity.capacity.string = "2Gi"
    driver = CSIDriver(metadata={"name": "csi"}, spec={"storageCapacity": True})
    objects = [
        claim(),
        storage_class(),
        (scheme.CSIDRIVERS, driver),
        (scheme.CSISTORAGECAPACITIES, capacity),
    ]
    found = Cluster(NODES, objects=objects).rejections(with_claim())
    assert found == {"a": ["node(s) did not have enough free storage"]}


@pytest.mark.parametrize(
    ("kind", "mine", "theirs", "conflicts"),
    [
        ("gcePersistentDisk", False, False, True),
        ("gcePersistentDisk", True, True, False),
        ("gcePersistentDisk", True, False, True),
        ("awsElasticBlockStore", True, True, True),
        ("iscsi", True, True, False),
        ("iscsi", False, True, True),
        ("rbd", False, False, True),
        ("rbd", True, True, False),
    ],
)
def test_disks_of_one_pod_only(kind, mine, theirs, conflicts):
    cluster = Cluster(NODES, [with_disk("other", theirs, kind, node="a")])
    expected = {"a": ["node(s) had no available disk"]} if conflicts else {}
    assert cluster.rejections(with_disk("p", mine, kind)) == expected


def test_read_write_once_pod_claims_have_one_user_in_the_whole_cluster():
    objects = [claim(volume="v", modes=["ReadWriteOncePod"]), volume()]
    cluster = Cluster(NODES, [with_claim("other", node="a")], objects)
    reason = (
        "node has pod using PersistentVolumeClaim with the same name "
        "and ReadWriteOncePod access mode"
    )
    assert cluster.rejections(with_claim()) == {"a": [reason], "b": [reason]}
    cluster.cache.remove("uid-default-other")
    assert cluster.rejections(with_claim()) == {}


def test_a_pod_of_higher_priority_takes_an_exclusive_claim_by_preemption():
    objects = [claim(volume="v", modes=["ReadWriteOncePod"]), volume()]
    cluster = Cluster(NODES, [with_claim("other", node="a")], objects)
    decision = cluster.decide(with_claim(priority=10))
    assert decision.post_filter.nominated == "a"


@pytest.mark.parametrize(
    ("limit", "existing", "rejected"),
    [
        (1, [], {}),
        (1, ["c1"], {"a": ["node(s) exceed max volume count"]}),
        (2, ["c1"], {}),
        (1, ["c0"], {}),
    ],
)
def test_csi_limits(limit, existing, rejected):
    csi_node = CSINode(metadata={"name": "a"})
    csi_node.spec.drivers.add(name="csi", nodeID="a").allocatable.count = limit
    objects = [(scheme.CSINODES, csi_node)]
    for i in range(2):
        objects += [claim(f"c{i}", volume=f"v{i}"), volume(f"v{i}", handle=f"h{i}")]
    placed = [with_claim(f"p{c}", c, node="a") for c in existing]
    assert Cluster(NODES, placed, objects).rejections(with_claim("new", "c0")) == rejected


async def test_a_waiting_claim_is_bound_before_its_pod():
    objects = [
        claim(),
        volume(zones=["z1"]),
        storage_class(provisioner="kubernetes.io/no-provisioner"),
    ]
    cluster = Cluster(NODES, objects=objects)
    client = MemoryClient()
    for resource, obj in objects:
        await client.create(resource, obj)
    cluster.handle.client = client
    plugin = next(p for p in cluster.framework.filter_plugins if isinstance(p, VolumeBinding))
    info = PodInfo(with_claim())
    decision = cluster.algorithm.schedule(cluster.framework, info, cluster.cache.nodes())
    assert decision.node_name == "a"
    assert cluster.framework.binding.reserve(decision.state, info, "a").code is Code.SUCCESS
    assert cluster.framework.binding.has_work(decision.state, info, "a")
    second = cluster.decide(with_claim("second", "c"))
    assert second.node_name == "a"  # the same claim may still have its volume

    cluster.cache.assume(info, "a")
    binding = asyncio.ensure_future(plugin.pre_bind(decision.state, info, "a"))
    for _ in range(10):
        await asyncio.sleep(0)
    taken = await client.get(scheme.PERSISTENTVOLUMES, "", "v")
    assert (taken.spec.claimRef.namespace, taken.spec.claimRef.name) == ("default", "c")
    assert not binding.done()
    done = PersistentVolumeClaim()
    done.CopyFrom(await client.get(scheme.PERSISTENTVOLUMECLAIMS, "default", "c"))
    done.spec.volumeName = "v"
    done.metadata.annotations.update(BOUND)
    cluster.listers.put(scheme.PERSISTENTVOLUMECLAIMS, done)
    assert key_of(done).name == "c"
    cluster.clock.step(1)
    assert (await asyncio.wait_for(binding, 30)).code is Code.SUCCESS


def test_a_promised_volume_is_not_given_to_another_claim():
    objects = [
        claim("c1"),
        claim("c2"),
        volume(),
        storage_class(provisioner="kubernetes.io/no-provisioner"),
    ]
    cluster = Cluster(NODES, objects=objects)
    first = PodInfo(with_claim("first", "c1"))
    decision = cluster.algorithm.schedule(cluster.framework, first, cluster.cache.nodes())
    cluster.framework.binding.reserve(decision.state, first, decision.node_name)
    assert cluster.decide(with_claim("second", "c2")).fit_error is not None
    cluster.framework.binding.unreserve(decision.state, first, decision.node_name)
    assert cluster.decide(with_claim("second", "c2")).node_name
