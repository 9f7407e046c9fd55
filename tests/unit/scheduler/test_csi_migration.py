"""In-tree volumes are taken for those of the CSI drivers that serve them."""

import pytest

from podpath.api import scheme
from protos.k8s.core_v1_pb2 import PersistentVolume, PersistentVolumeClaim, Volume
from protos.k8s.storage_v1_pb2 import CSINode, StorageClass
from scheduler.plugins import csi_migration
from scheduler.plugins.csi_migration import TranslationError
from tests.support.scheduling import ZONE, Cluster, node, pod

BETA_ZONE = "failure-domain.beta.kubernetes.io/zone"
BETA_REGION = "failure-domain.beta.kubernetes.io/region"
REGION = "topology.kubernetes.io/region"
EBS, GCE, AZURE = "kubernetes.io/aws-ebs", "kubernetes.io/gce-pd", "kubernetes.io/azure-disk"
CINDER, PORTWORX = "kubernetes.io/cinder", "kubernetes.io/portworx-volume"
EBS_ZONE = "topology.ebs.csi.aws.com/zone"


def csi_node(*migrated, name="n", **limits):
    """`limits`: by driver, with `_` for `.`."""
    made = CSINode(metadata={"name": name})
    if migrated:
        made.metadata.annotations[csi_migration.MIGRATED_PLUGINS] = ",".join(migrated)
    for driver, count in limits.items():
        added = made.spec.drivers.add(name=driver.replace("_", "."), nodeID=name)
        added.allocatable.count = count
    return made


def volume(source, labels=None, terms=()):
    """`terms`: of the node affinity, {key: values} each."""
    made = PersistentVolume(
        metadata={"name": "v", "labels": labels or {}}, spec={"persistentVolumeSource": source}
    )
    for term in terms:
        added = made.spec.nodeAffinity.required.nodeSelectorTerms.add()
        for key, values in term.items():
            added.matchExpressions.add(key=key, operator="In", values=values)
    return made


def ebs(volume_id="vol-1"):
    return {"awsElasticBlockStore": {"volumeID": volume_id}}


def gce():
    return {"gcePersistentDisk": {"pdName": "d"}}


@pytest.mark.parametrize(
    ("source", "labels", "expected"),
    [
        (ebs("vol-1"), {}, ("ebs.csi.aws.com", "vol-1")),
        (ebs("aws://us-east-1/vol-2"), {}, ("ebs.csi.aws.com", "vol-2")),
        (ebs("aws:///vol-3"), {}, ("ebs.csi.aws.com", "vol-3")),
        (ebs("aws://us-east-1/disk"), {}, None),
        (
            gce(),
            {},
            ("pd.csi.storage.gke.io", "projects/UNSPECIFIED/zones/UNSPECIFIED/disks/d"),
        ),
        (
            gce(),
            {ZONE: "us-east1-a"},
            ("pd.csi.storage.gke.io", "projects/UNSPECIFIED/zones/us-east1-a/disks/d"),
        ),
        (
            gce(),
            {BETA_ZONE: "us-east1-a__us-east1-c", ZONE: "elsewhere"},
            ("pd.csi.storage.gke.io", "projects/UNSPECIFIED/regions/us-east1/disks/d"),
        ),
        (gce(), {ZONE: "us-east1-a__europe-west1-b"}, None),
        ({"azureDisk": {"diskURI": "/u", "kind": "Managed"}}, {}, ("disk.csi.azure.com", "/u")),
        ({"azureDisk": {"diskURI": "/u", "kind": "Dedicated"}}, {}, None),
        ({"cinder": {"volumeID": "c"}}, {}, ("cinder.csi.openstack.org", "c")),
        ({"csi": {"driver": "d", "volumeHandle": "h"}}, {}, ("d", "h")),
        ({"nfs": {"server": "s"}}, {}, None),
        ({"azureFile": {"shareName": "s"}}, {}, None),
        ({"vsphereVolume": {"volumePath": "p"}}, {}, None),
    ],
)
def test_what_a_driver_calls_a_volume(source, labels, expected):
    assert csi_migration.persistent_volume(volume(source, labels), csi_node()) == expected


def test_without_a_csi_node_nothing_is_migrated():
    assert csi_migration.persistent_volume(volume(ebs()), None) is None
    assert csi_migration.driver_of(EBS, None) == ""
    assert csi_migration.driver_of("csi.example.com", None) == "csi.example.com"


def test_portworx_has_to_be_listed_by_the_node():
    source = {"portworxVolume": {"volumeID": "p"}}
    assert csi_migration.persistent_volume(volume(source), csi_node(EBS)) is None
    listed = csi_node(EBS, PORTWORX)
    assert csi_migration.persistent_volume(volume(source), listed) == ("pxd.portworx.com", "p")


@pytest.mark.parametrize(
    ("provisioner", "expected"),
    [
        (EBS, "ebs.csi.aws.com"),
        (GCE, "pd.csi.storage.gke.io"),
        (AZURE, "disk.csi.azure.com"),
        (CINDER, "cinder.csi.openstack.org"),
        ("kubernetes.io/azure-file", ""),
        ("kubernetes.io/vsphere-volume", ""),
        (PORTWORX, ""),
        ("csi.example.com", "csi.example.com"),
    ],
)
def test_who_provisions(provisioner, expected):
    assert csi_migration.driver_of(provisioner, csi_node()) == expected


def test_an_inline_disk_that_no_driver_knows_is_an_error():
    bad = Volume(name="v", volumeSource={"azureDisk": {"diskURI": "/u", "kind": "Shared"}})
    with pytest.raises(TranslationError, match=r"kind\(Shared\) is not supported in csi migration"):
        csi_migration.inline_volume(bad, csi_node())


@pytest.mark.parametrize(
    ("labels", "terms", "expected"),
    [
        pytest.param({}, [], [], id="nothing known"),
        pytest.param({ZONE: "a"}, [], [{EBS_ZONE: ["a"]}], id="a label"),
        pytest.param({BETA_ZONE: "b__a"}, [], [{EBS_ZONE: ["a", "b"]}], id="a label of the past"),
        pytest.param({ZONE: "a", BETA_ZONE: "b"}, [], [{EBS_ZONE: ["a"]}], id="today's label wins"),
        pytest.param(
            {ZONE: "x"},
            [{ZONE: ["a"]}, {ZONE: ["b"], "other": ["o"]}],
            [{EBS_ZONE: ["a"]}, {EBS_ZONE: ["b"], "other": ["o"]}],
            id="affinity wins",
        ),
        pytest.param(
            {},
            [{BETA_ZONE: ["a"], BETA_REGION: ["r"]}],
            [{EBS_ZONE: ["a"], REGION: ["r"]}],
            id="affinity of the past",
        ),
        pytest.param(
            {ZONE: "a"},
            [{"other": ["o"]}],
            [{"other": ["o"], EBS_ZONE: ["a"]}],
            id="a label beside other demands",
        ),
    ],
)
def test_zones_by_the_drivers_own_label(labels, terms, expected):
    before = volume(ebs(), labels, terms)
    after = csi_migration.with_csi_topology(before, csi_node(EBS))
    found = [
        {e.key: list(e.values) for e in term.matchExpressions}
        for term in after.spec.nodeAffinity.required.nodeSelectorTerms
    ]
    assert found == expected
    assert before == volume(ebs(), labels, terms)  # shared objects stay as they are
    assert csi_migration.with_csi_topology(before, csi_node(GCE)) is before


def claim(name="c", volume_name="v", storage_class=""):
    made = PersistentVolumeClaim(metadata={"name": name, "namespace": "default"})
    made.spec.volumeName, made.spec.storageClassName = volume_name, storage_class
    if volume_name:
        made.metadata.annotations["pv.kubernetes.io/bind-completed"] = "yes"
    return made


def with_claim(name="p", **more):
    source = {"persistentVolumeClaim": {"claimName": "c"}}
    return pod(name, volumes=[{"name": "v", "volumeSource": source}], **more)


def with_disk(name, volume_id, **more):
    return pod(name, volumes=[{"name": "v", "volumeSource": ebs(volume_id)}], **more)


FULL = {"n": ["node(s) exceed max volume count"]}


@pytest.mark.parametrize(
    ("limit", "asked", "rejected"),
    [
        (2, with_disk("new", "vol-2"), {}),
        (1, with_disk("new", "vol-2"), FULL),
        (1, with_claim("new"), FULL),
    ],
)
def test_limits_of_the_driver_count_claims_and_inline_disks_alike(limit, asked, rejected):
    objects = [
        (scheme.CSINODES, csi_node(ebs_csi_aws_com=limit)),
        (scheme.PERSISTENTVOLUMECLAIMS, claim()),
        (scheme.PERSISTENTVOLUMES, volume(ebs("vol-3"))),
    ]
    there = with_disk("there", "vol-1", node="n")
    assert Cluster([node()], [there], objects).rejections(asked) == rejected


def test_a_disk_of_two_pods_counts_once():
    volumes = [{"name": "v", "volumeSource": {"cinder": {"volumeID": "c"}}}]
    objects = [(scheme.CSINODES, csi_node(cinder_csi_openstack_org=1))]
    cluster = Cluster([node()], [pod("there", node="n", volumes=volumes)], objects)
    assert cluster.decide(pod("new", volumes=volumes)).node_name == "n"


def test_a_claim_to_be_provisioned_by_an_in_tree_plugin_counts_for_its_driver():
    waiting = StorageClass(
        metadata={"name": "sc"}, provisioner=EBS, volumeBindingMode="WaitForFirstConsumer"
    )
    objects = [
        (scheme.CSINODES, csi_node(ebs_csi_aws_com=1)),
        (scheme.STORAGECLASSES, waiting),
        (scheme.PERSISTENTVOLUMECLAIMS, claim(volume_name="", storage_class="sc")),
    ]
    cluster = Cluster([node()], [with_disk("there", "vol-1", node="n")], objects)
    assert cluster.rejections(with_claim("new")) == FULL


def test_a_migrated_volume_binds_to_nodes_with_the_drivers_topology():
    """The node has only the driver's zone label, the volume only Kubernetes' own."""
    nodes = [node("a", labels={EBS_ZONE: "z1"}), node("b", labels={EBS_ZONE: "z2"})]
    objects = [
        (scheme.PERSISTENTVOLUMECLAIMS, claim()),
        (scheme.PERSISTENTVOLUMES, volume(ebs(), terms=[{ZONE: ["z1"]}])),
        (scheme.CSINODES, csi_node(EBS, name="a")),
        (scheme.CSINODES, csi_node(EBS, name="b")),
    ]
    affinity = ["node(s) didn't match PersistentVolume's node affinity"]
    assert Cluster(nodes, objects=objects).rejections(with_claim()) == {"b": affinity}
    unmigrated = Cluster(nodes, objects=objects[:2])
    assert unmigrated.rejections(with_claim()) == {"a": affinity, "b": affinity}
