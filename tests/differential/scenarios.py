"""Random clusters and one Pod to place, valid for a real API server. A seed is a scenario."""

import random
from dataclasses import dataclass, field
from typing import Any

from podpath.api import scheme
from podpath.api.scheme import Resource
from tests.differential import in_tree_volumes
from tests.differential.in_tree_volumes import claim_tree

MIB = 1024 * 1024
HOSTNAME = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"
APPS = ("web", "db", "cache")
KEYS = (HOSTNAME, ZONE, "rack")
PRIORITY_CLASS = "high"
HIGH = 1000

KINDS = ("mixed", "resources", "taints", "affinity", "spread", "inter-pod", "ports", "images",
         "volumes", "preemption", "defaults")  # fmt: skip

IN_TREE, IN_TREE_FROM = "in-tree volumes", 100_000
"""The kind of all seeds from there on."""

Tree = dict[str, Any]


@dataclass
class Scenario:
    """JSON trees, in the order in which they have to be created."""

    seed: int
    kind: str
    nodes: list[Tree] = field(default_factory=list)
    others: list[tuple[Resource[Any], Tree]] = field(default_factory=list)
    placed: list[Tree] = field(default_factory=list)
    pod: Tree = field(default_factory=dict)


def kind_of(seed: int) -> str:
    return KINDS[seed % len(KINDS)] if seed < IN_TREE_FROM else IN_TREE


def scenario(seed: int) -> Scenario:
    return _Builder(random.Random(seed), kind_of(seed), seed).build(seed)


class _Builder:
    def __init__(self, rng: random.Random, kind: str, seed: int) -> None:
        self._r = rng
        self._kind = kind
        # Names are the scenario's own: what a scheduler may still remember of another is no part
        # of this one.
        self._node_name = f"s{seed}n{{}}".format
        self._suffix = f"-{seed}"

    def _one(self, *options: Any) -> Any:
        return self._r.choice(options)

    def _chance(self, share: float) -> bool:
        return self._r.random() < share

    def _about(self, *kinds: str) -> bool:
        """Whether the scenario is about one of these; a mixed one is about all, now and then."""
        return self._kind in kinds or (self._kind == "mixed" and self._chance(0.5))

    def build(self, seed: int) -> Scenario:
        made = Scenario(seed, self._kind)
        count = self._r.randint(2, 12)
        made.nodes = [self._node(self._node_name(i)) for i in range(count)]
        for i in range(self._r.randint(0, count * 3)):
            other = self._pod(f"other{i}{self._suffix}", placed=True)
            other["spec"]["nodeName"] = self._node_name(self._r.randrange(count))
            if self._kind in ("preemption", "mixed"):
                # Of equal priority, who has run longer is spared; without it upstream's order is
                # that of its sort.
                other["status"] = {"startTime": f"2024-01-01T00:{i:02}:00Z"}
            made.placed.append(other)
        made.pod = self._pod(f"subject{self._suffix}", placed=False)
        if self._about("volumes"):
            self._volumes(made)
        if self._kind == IN_TREE:
            in_tree_volumes.add(self._r, self._suffix, made)
        if self._about("defaults"):
            self._service(made)
        return made

    def _node(self, name: str) -> Tree:
        labels = {HOSTNAME: name}
        if self._chance(0.8):
            labels[ZONE] = self._one("z1", "z2", "z3")
        if self._chance(0.6):
            labels["rack"] = self._one("r1", "r2")
        if self._chance(0.6):
            labels["disk"] = self._one("ssd", "hdd")
        labels["size"] = str(self._r.randint(1, 9))
        allocatable = {
            "cpu": self._one("2", "4", "8"),
            "memory": self._one("4Gi", "8Gi", "16Gi"),
            "pods": self._one("3", "10", "110"),
            "ephemeral-storage": "10Gi",
        }
        if self._chance(0.3):
            allocatable["example.com/gpu"] = self._one("1", "4")
        tree: Tree = {
            "metadata": {"name": name, "labels": labels},
            "spec": {"taints": self._taints() if self._about("taints") else []},
            "status": {"allocatable": allocatable, "capacity": allocatable, "images": []},
        }
        if self._about("taints") and self._chance(0.15):
            tree["spec"]["unschedulable"] = True
        if self._about("images"):
            tree["status"]["images"] = [
                {"names": [f"img/{image}:1"], "sizeBytes": size * MIB}
                for image, size in (("a", 300), ("b", 700), ("c", 40))
                if self._chance(0.5)
            ]
        return tree

    def _taints(self) -> list[Tree]:
        found = {}
        for _ in range(self._one(0, 1, 1, 2)):
            effect = self._one("NoSchedule", "PreferNoSchedule", "PreferNoSchedule", "NoExecute")
            key = self._one("k1", "k2")
            found[key, effect] = {"key": key, "value": self._one("u", "v"), "effect": effect}
        return list(found.values())

    def _tolerations(self) -> list[Tree]:
        return [
            self._one(
                {"key": "k1", "operator": "Exists"},
                {"key": "k1", "operator": "Equal", "value": "v"},
                {"key": "k2", "operator": "Equal", "value": "u", "effect": "NoSchedule"},
                {"key": "k2", "operator": "Exists", "effect": "PreferNoSchedule"},
                {"operator": "Exists"},
                {"key": "node.kubernetes.io/unschedulable", "operator": "Exists"},
            )
            for _ in range(self._r.randint(0, 2))
        ]

    def _pod(self, name: str, *, placed: bool) -> Tree:
        container: Tree = {
            "name": "c",
            "image": self._one("img/a:1", "img/b:1", "img/c:1", "img/d"),
        }
        container["resources"] = self._requests(placed=placed)
        spec: Tree = {"containers": [container], "terminationGracePeriodSeconds": 0}
        labels = {"app": self._one(*APPS)} if self._chance(0.9) else {}
        if self._chance(0.3):
            labels["version"] = self._one("1", "2")
        if self._about("images") and not placed and self._chance(0.5):
            spec["containers"].append({"name": "d", "image": self._one("img/a:1", "img/b:1")})
        if self._about("taints"):
            spec["tolerations"] = self._tolerations()
        affinity: Tree = {}
        if self._about("affinity") and not placed:
            affinity["nodeAffinity"] = self._node_affinity()
            if self._chance(0.3):
                spec["nodeSelector"] = {"disk": self._one("ssd", "hdd")}
        if self._about("inter-pod"):
            for kind in ("podAffinity", "podAntiAffinity"):
                if self._chance(0.3 if placed else 0.5):
                    affinity[kind] = self._pod_terms(labels)
        if affinity:
            spec["affinity"] = affinity
        if self._about("spread") and not placed:
            spec["topologySpreadConstraints"] = self._constraints(labels)
        if self._about("ports") and self._chance(0.8):
            container["ports"] = [self._port()]
        if self._about("preemption") and not placed:
            spec["priorityClassName"] = PRIORITY_CLASS
        return {
            "metadata": {
                "name": name,
                "namespace": self._one("default", "default", "default", "other"),
                "labels": labels,
            },
            "spec": spec,
        }

    def _requests(self, *, placed: bool) -> Tree:
        tight = self._kind == "preemption"
        requests = {}
        if tight or self._chance(0.8):
            requests["cpu"] = self._one("1", "2") if tight else self._one("100m", "250m", "1", "2")
        if self._chance(0.6):
            requests["memory"] = self._one("64Mi", "1Gi", "3Gi")
        if self._chance(0.1):
            requests["ephemeral-storage"] = self._one("1Gi", "4Gi")
        found: Tree = {"requests": requests}
        if not placed and self._about("resources") and self._chance(0.3):
            requests["example.com/gpu"] = "1"
            found["limits"] = {"example.com/gpu": "1"}
        return found

    def _port(self) -> Tree:
        port: Tree = {"containerPort": 80, "hostPort": self._one(8000, 8001)}
        port["protocol"] = self._one("TCP", "TCP", "UDP")
        if self._chance(0.3):
            port["hostIP"] = self._one("127.0.0.1", "127.0.0.2")
        return port

    def _expression(self) -> Tree:
        operator = self._one("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt")
        if operator in ("Gt", "Lt"):
            return {"key": "size", "operator": operator, "values": [str(self._r.randint(2, 8))]}
        key, values = self._one(("disk", ["ssd"]), (ZONE, ["z1", "z2"]), ("rack", ["r1"]))
        if operator in ("In", "NotIn"):
            return {"key": key, "operator": operator, "values": values}
        return {"key": key, "operator": operator}

    def _node_affinity(self) -> Tree:
        found: Tree = {}
        if self._chance(0.6):
            terms = [
                {"matchExpressions": [self._expression() for _ in range(self._one(1, 2))]}
                for _ in range(self._one(1, 2))
            ]
            if self._chance(0.2):
                terms[0]["matchFields"] = [
                    {"key": "metadata.name", "operator": "In", "values": [self._node_name(0)]}
                ]
            found["requiredDuringSchedulingIgnoredDuringExecution"] = {"nodeSelectorTerms": terms}
        if self._chance(0.7):
            found["preferredDuringSchedulingIgnoredDuringExecution"] = [
                {
                    "weight": self._r.randint(1, 100),
                    "preference": {"matchExpressions": [self._expression()]},
                }
                for _ in range(self._one(1, 2, 3))
            ]
        return found

    def _selector(self) -> Tree:
        return self._one(
            {"matchLabels": {"app": self._one(*APPS)}},
            {"matchExpressions": [{"key": "app", "operator": "In", "values": ["web", "db"]}]},
            {"matchExpressions": [{"key": "version", "operator": "Exists"}]},
        )

    def _pod_term(self, labels: Tree) -> Tree:
        term: Tree = {"labelSelector": self._selector(), "topologyKey": self._one(*KEYS)}
        if self._chance(0.2):
            term["namespaceSelector"] = self._one({}, {"matchLabels": {"team": "o"}})
        elif self._chance(0.2):
            term["namespaces"] = [self._one("default", "other")]
        if self._chance(0.2) and "version" in labels:
            term[self._one("matchLabelKeys", "mismatchLabelKeys")] = ["version"]
            term["labelSelector"] = {"matchLabels": {"app": self._one(*APPS)}}
        return term

    def _pod_terms(self, labels: Tree) -> Tree:
        found: Tree = {}
        if self._chance(0.5):
            found["requiredDuringSchedulingIgnoredDuringExecution"] = [self._pod_term(labels)]
        else:
            found["preferredDuringSchedulingIgnoredDuringExecution"] = [
                {"weight": self._r.randint(1, 100), "podAffinityTerm": self._pod_term(labels)}
                for _ in range(self._one(1, 2))
            ]
        return found

    def _constraints(self, labels: Tree) -> list[Tree]:
        found = {}
        for _ in range(self._one(1, 1, 2)):
            made: Tree = {
                "maxSkew": self._r.randint(1, 3),
                "topologyKey": self._one(*KEYS),
                "whenUnsatisfiable": self._one("DoNotSchedule", "ScheduleAnyway"),
                "labelSelector": self._selector(),
            }
            if self._chance(0.3):
                made["nodeTaintsPolicy"] = self._one("Honor", "Ignore")
            if self._chance(0.3):
                made["nodeAffinityPolicy"] = self._one("Honor", "Ignore")
            if made["whenUnsatisfiable"] == "DoNotSchedule" and self._chance(0.3):
                made["minDomains"] = self._r.randint(1, 4)
            if self._chance(0.2) and "version" in labels:
                made["matchLabelKeys"] = ["version"]
                made["labelSelector"] = {"matchLabels": {"app": self._one(*APPS)}}
            found[made["topologyKey"], made["whenUnsatisfiable"]] = made
        return list(found.values())

    def _service(self, made: Scenario) -> None:
        service = {
            "metadata": {"name": "s", "namespace": "default"},
            "spec": {"selector": {"app": self._one(*APPS)}, "ports": [{"port": 80}]},
        }
        made.others.append((scheme.SERVICES, service))

    def _volumes(self, made: Scenario) -> None:
        """A bound claim with a volume in a zone, an unbound one, a disk, or limits of a driver."""
        namespace = made.pod["metadata"]["namespace"]
        what = self._one("zone", "affinity", "immediate", "waiting", "disk", "limit", "missing")
        claim_name = f"claim{self._suffix}"
        made.pod["spec"]["volumes"] = [
            {"name": "v", "persistentVolumeClaim": {"claimName": claim_name}}
        ]
        if what == "missing":
            return
        if what == "disk":
            disk = {"name": "v", "gcePersistentDisk": {"pdName": "d1"}}
            made.pod["spec"]["volumes"] = [disk]
            for other in made.placed[:2]:
                other["spec"]["volumes"] = [disk]
            return
        mode = "Immediate" if what == "immediate" else "WaitForFirstConsumer"
        storage_class: Tree = {
            "metadata": {"name": f"sc{self._suffix}"},
            "provisioner": self._one("csi.example.com", "kubernetes.io/no-provisioner"),
            "volumeBindingMode": mode,
        }
        if self._chance(0.4):
            storage_class["allowedTopologies"] = [
                {"matchLabelExpressions": [{"key": ZONE, "values": ["z1"]}]}
            ]
        made.others.append((scheme.STORAGECLASSES, storage_class))
        bound = what in ("zone", "affinity", "limit")
        if bound:
            made.others.append(
                (scheme.PERSISTENTVOLUMES, self._volume(what, namespace, claim_name))
            )
        if what == "limit":
            for node in made.nodes:
                name = node["metadata"]["name"]
                driver = {"name": "csi.example.com", "nodeID": name, "topologyKeys": []}
                driver["allocatable"] = {"count": self._one(0, 1)}
                csi_node = {"metadata": {"name": name}, "spec": {"drivers": [driver]}}
                made.others.append((scheme.CSINODES, csi_node))
        made.others.append(
            (
                scheme.PERSISTENTVOLUMECLAIMS,
                claim_tree(namespace, claim_name, self._suffix, bound=bound),
            )
        )

    def _volume(self, what: str, namespace: str, claim: str) -> Tree:
        labels = {ZONE: self._one("z1", "z1__z2")} if what == "zone" else {}
        spec: Tree = {
            "capacity": {"storage": "5Gi"},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": f"sc{self._suffix}",
            "claimRef": {"kind": "PersistentVolumeClaim", "namespace": namespace, "name": claim},
            "csi": {"driver": "csi.example.com", "volumeHandle": "h1"},
        }
        if what == "affinity":
            expression = {"key": ZONE, "operator": "In", "values": ["z1", "z2"]}
            spec["nodeAffinity"] = {
                "required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
            }
        return {"metadata": {"name": f"pv{self._suffix}", "labels": labels}, "spec": spec}
