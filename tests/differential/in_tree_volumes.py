"""Scenarios about volumes of in-tree plugins, which CSI drivers serve: limits, zones, claims."""

import random
from typing import Any

from podpath.api import scheme

Tree = dict[str, Any]

ZONE = "topology.kubernetes.io/zone"
BETA_ZONE = "failure-domain.beta.kubernetes.io/zone"
ZONES = ("us-east1-a", "us-east1-b", "us-east1-c")

# in-tree name, driver, its zone label, a volume's source by number
PLUGINS = (
    (
        "kubernetes.io/aws-ebs",
        "ebs.csi.aws.com",
        "topology.ebs.csi.aws.com/zone",
        lambda i: {"awsElasticBlockStore": {"volumeID": f"aws://{ZONES[0]}/vol-{i}"}},
    ),
    (
        "kubernetes.io/gce-pd",
        "pd.csi.storage.gke.io",
        "topology.gke.io/zone",
        lambda i: {"gcePersistentDisk": {"pdName": f"d{i}"}},
    ),
    (
        "kubernetes.io/azure-disk",
        "disk.csi.azure.com",
        "topology.disk.csi.azure.com/zone",
        lambda i: {"azureDisk": {"diskName": f"d{i}", "diskURI": _azure(i), "kind": "Managed"}},
    ),
    (
        "kubernetes.io/cinder",
        "cinder.csi.openstack.org",
        "topology.cinder.csi.openstack.org/zone",
        lambda i: {"cinder": {"volumeID": f"c{i}"}},
    ),
)


def _azure(i: int) -> str:
    where = "/subscriptions/s/resourceGroups/r/providers/Microsoft.Compute"
    return f"{where}/disks/d{i}"


def add(rng: random.Random, suffix: str, made: Any) -> None:
    """Gives some Pods of a scenario disks, its nodes CSINodes, and its Pod a disk or a claim."""
    name, driver, zone_label, source = rng.choice(PLUGINS)
    for node in made.nodes:
        labels = node["metadata"]["labels"]
        for label in (ZONE, zone_label):
            labels.pop(label, None)
            if rng.random() < 0.7:
                labels[label] = rng.choice(ZONES)
        if rng.random() < 0.9:
            made.others.append(
                (scheme.CSINODES, _csi_node(rng, node["metadata"]["name"], name, driver))
            )
    for i, other in enumerate(made.placed):
        if rng.random() < 0.5:
            other["spec"]["volumes"] = [{"name": "v", **source(i)}]
    what = rng.choice(("inline", "inline", "bound", "bound", "waiting"))
    if what == "inline":
        made.pod["spec"]["volumes"] = [{"name": "v", **source(100 + rng.randrange(2))}]
        return
    claim = f"claim{suffix}"
    namespace = made.pod["metadata"]["namespace"]
    made.pod["spec"]["volumes"] = [{"name": "v", "persistentVolumeClaim": {"claimName": claim}}]
    made.others.append(
        (
            scheme.STORAGECLASSES,
            {
                "metadata": {"name": f"sc{suffix}"},
                "provisioner": name,
                "volumeBindingMode": "WaitForFirstConsumer",
            },
        )
    )
    if what == "bound":
        volume = _volume(rng, suffix, namespace, claim, source(200))
        made.others.append((scheme.PERSISTENTVOLUMES, volume))
    made.others.append(
        (scheme.PERSISTENTVOLUMECLAIMS, claim_tree(namespace, claim, suffix, bound=what == "bound"))
    )


def _csi_node(rng: random.Random, node: str, plugin: str, driver: str) -> Tree:
    entry: Tree = {"name": driver, "nodeID": node, "topologyKeys": []}
    if rng.random() < 0.7:
        entry["allocatable"] = {"count": rng.choice((0, 1, 2))}
    annotations = {}
    if rng.random() < 0.7:
        migrated = rng.choice((plugin, f"kubernetes.io/other,{plugin}", "kubernetes.io/other"))
        annotations["storage.alpha.kubernetes.io/migrated-plugins"] = migrated
    meta = {"name": node, "annotations": annotations}
    return {"metadata": meta, "spec": {"drivers": [entry]}}


def _volume(rng: random.Random, suffix: str, namespace: str, claim: str, source: Tree) -> Tree:
    spec: Tree = {
        "capacity": {"storage": "5Gi"},
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": f"sc{suffix}",
        "claimRef": {"kind": "PersistentVolumeClaim", "namespace": namespace, "name": claim},
        **source,
    }
    label = rng.choice((ZONE, BETA_ZONE))
    zones = rng.sample(ZONES, rng.choice((1, 1, 2)))
    labels = {label: "__".join(zones)} if rng.random() < 0.5 else {}
    if rng.random() < 0.5:
        expression = {"key": label, "operator": "In", "values": zones}
        terms = [{"matchExpressions": [expression]}]
        spec["nodeAffinity"] = {"required": {"nodeSelectorTerms": terms}}
    return {"metadata": {"name": f"pv{suffix}", "labels": labels}, "spec": spec}


def claim_tree(namespace: str, name: str, suffix: str, *, bound: bool) -> Tree:
    """A claim, bound to the scenario's volume or waiting for one."""
    tree: Tree = {
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
            "storageClassName": f"sc{suffix}",
        },
    }
    if bound:
        tree["metadata"]["annotations"] = {"pv.kubernetes.io/bind-completed": "yes"}
        tree["spec"]["volumeName"] = f"pv{suffix}"
        tree["status"] = {"phase": "Bound"}
    return tree
