"""The vectorised core decides as the plain plugins do: same cluster, same seed, same decision."""

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from podpath.api import scheme
from protos.k8s.core_v1_pb2 import Service
from scheduler.pod_info import PodInfo
from scheduler.vectorised.algorithm import VectorisedAlgorithm, supports
from tests.support.scheduling import HOSTNAME, ZONE, Cluster, node, pod

MIB = 1024 * 1024
APPS = ("web", "db", "cache")
KEYS = (HOSTNAME, ZONE, "rack")


class Dice:
    """Random clusters and Pods from one seed."""

    def __init__(self, seed):
        self._r = random.Random(seed)

    def one(self, *options):
        return self._r.choice(options)

    def chance(self, share):
        return self._r.random() < share

    def number(self, low, high):
        return self._r.randint(low, high)

    def taints(self):
        if not self.chance(0.3):
            return []
        effects = ("NoSchedule", "PreferNoSchedule", "PreferNoSchedule", "NoExecute")
        return [
            {"key": self.one("k1", "k2"), "value": self.one("", "v"), "effect": self.one(*effects)}
            for _ in range(self.number(1, 2))
        ]

    def node(self, name):
        labels = {"disk": self.one("ssd", "hdd")} if self.chance(0.6) else {}
        if self.chance(0.5):
            labels["rack"] = self.one("r1", "r2", "r3")
        allocatable = {
            "cpu": self.one("2", "4", "8"),
            "memory": self.one("4Gi", "8Gi", "16Gi"),
            "pods": self.one("3", "10", "110"),
        }
        if self.chance(0.2):
            allocatable["example.com/gpu"] = "2"
        images = (
            {f"img/{self.one('a', 'b')}:1": self.number(10, 900) * MIB} if self.chance(0.4) else {}
        )
        return node(
            name,
            zone=self.one("", "z1", "z2", "z3"),
            labels=labels,
            allocatable=allocatable,
            images=images,
            taints=self.taints(),
            unschedulable=self.chance(0.08),
        )

    def affinity(self):
        found = {}
        if self.chance(0.25):
            term = {
                "matchExpressions": [
                    {"key": "disk", "operator": self.one("In", "NotIn", "Exists"), "values": []}
                ]
            }
            if term["matchExpressions"][0]["operator"] != "Exists":
                term["matchExpressions"][0]["values"] = ["ssd"]
            found["nodeAffinity"] = (
                {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
                if self.chance(0.5)
                else {
                    "preferredDuringSchedulingIgnoredDuringExecution": [
                        {"weight": self.number(1, 50), "preference": term}
                    ]
                }
            )
        for kind in ("podAffinity", "podAntiAffinity"):
            if self.chance(0.2):
                found[kind] = self.pod_terms()
        return found

    def pod_terms(self):
        def term():
            made = {
                "labelSelector": {"matchLabels": {"app": self.one(*APPS)}},
                "topologyKey": self.one(*KEYS),
            }
            if self.chance(0.2):
                made["namespaceSelector"] = {}
            if self.chance(0.2):
                made["namespaces"] = [self.one("default", "other")]
            return made

        if self.chance(0.5):
            return {"requiredDuringSchedulingIgnoredDuringExecution": [term()]}
        weighted = [
            {"weight": self.number(1, 100), "podAffinityTerm": term()}
            for _ in range(self.number(1, 2))
        ]
        return {"preferredDuringSchedulingIgnoredDuringExecution": weighted}

    def constraints(self):
        if not self.chance(0.3):
            return []
        listed = []
        for key in dict.fromkeys(self.one(*KEYS) for _ in range(self.number(1, 2))):
            made = {
                "maxSkew": self.number(1, 3),
                "topologyKey": key,
                "whenUnsatisfiable": self.one("DoNotSchedule", "ScheduleAnyway"),
                "labelSelector": {"matchLabels": {"app": self.one(*APPS)}},
            }
            if self.chance(0.3):
                made["nodeTaintsPolicy"] = "Honor"
            if self.chance(0.3):
                made["nodeAffinityPolicy"] = "Ignore"
            if made["whenUnsatisfiable"] == "DoNotSchedule" and self.chance(0.3):
                made["minDomains"] = self.number(1, 4)
            listed.append(made)
        return listed

    def pod(self, name):
        requests = {}
        if self.chance(0.8):
            requests["cpu"] = self.one("100m", "250m", "1", "3")
        if self.chance(0.6):
            requests["memory"] = self.one("64Mi", "1Gi", "3Gi")
        if self.chance(0.1):
            requests["example.com/gpu"] = "1"
        if self.chance(0.1):
            requests["ephemeral-storage"] = self.one("0", "1Gi")
        tolerations = [{"key": "k1", "operator": "Exists"}] if self.chance(0.3) else []
        made = pod(
            name,
            namespace=self.one("default", "default", "other"),
            labels={"app": self.one(*APPS)} if self.chance(0.9) else {},
            requests=requests,
            priority=self.one(0, 0, 0, 10),
            tolerations=tolerations,
            affinity=self.affinity(),
            topologySpreadConstraints=self.constraints(),
            nodeSelector={"disk": "ssd"} if self.chance(0.1) else {},
        )
        container = made.spec.containers[0]
        container.image = self.one("", "img/a:1", "img/b:1")
        if self.chance(0.1):
            container.ports.add(hostPort=self.one(80, 81), hostIP=self.one("", "127.0.0.1"))
        return made


def twins(seed, percentage):
    """Two equal clusters: one decides plainly, the other in arrays."""
    services = [
        (
            scheme.SERVICES,
            Service(
                metadata={"name": "s", "namespace": "default"}, spec={"selector": {"app": "web"}}
            ),
        )
    ]
    plain = Cluster(objects=services, seed=seed, percentage=percentage)
    fast = Cluster(objects=services, seed=seed, percentage=percentage)
    fast.algorithm = VectorisedAlgorithm(fast.framework, fast.cache, fast.listers, fast.algorithm)
    return plain, fast


def told(decision):
    explained = decision.explain()
    return {
        "node": decision.node_name,
        "evaluated": decision.evaluated,
        "feasible": decision.feasible,
        "score": decision.score,
        "error": str(decision.fit_error),
        "among": list(explained.chosen_among),
        "rejected": dict(explained.rejected),
        "totals": {s.name: s.total for s in explained.scores},
        "victims": [v.uid for v in decision.post_filter.victims] if decision.post_filter else None,
    }


def run(seed, node_count, steps, percentage):
    dice = Dice(seed)
    both = twins(seed, percentage)
    names = [f"n{i}" for i in range(node_count)]
    for name in names:
        made = dice.node(name)
        for cluster in both:
            cluster.cache.set_node(made)
    placed, templates = [], []
    for step in range(steps):
        what = dice.number(0, 19)
        if what == 0 and placed:
            gone = placed.pop(dice.number(0, len(placed) - 1))
            for cluster in both:
                cluster.cache.remove(gone)
        elif what == 1:
            changed = dice.node(dice.one(*names))
            for cluster in both:
                cluster.cache.set_node(changed)
        elif what == 2 and len(names) > 2:
            name = names.pop(dice.number(0, len(names) - 1))
            for cluster in both:
                cluster.cache.remove_node(name)
        elif what == 3:
            names.append(f"m{step}")
            made = dice.node(names[-1])
            for cluster in both:
                cluster.cache.set_node(made)
        elif what == 4:
            rival, where = PodInfo(dice.pod(f"rival{step}")), dice.one(*names)
            for cluster in both:
                cluster.handle.nominator.add(rival, where)
        else:
            template = dice.one(*templates) if templates and dice.chance(0.5) else dice.pod("p")
            templates.append(template)
            for copy in range(dice.number(1, 3)):
                a_pod = type(template)()
                a_pod.CopyFrom(template)
                a_pod.metadata.name, a_pod.metadata.uid = f"p{step}-{copy}", f"p{step}-{copy}"
                expected, found = (told(cluster.decide(a_pod)) for cluster in both)
                assert found == expected
                if expected["node"]:
                    bound = type(a_pod)()
                    bound.CopyFrom(a_pod)
                    bound.spec.nodeName = expected["node"]
                    confirmed = dice.chance(0.7)
                    for cluster in both:
                        cluster.cache.assume(cluster.decided, expected["node"])
                        if confirmed:
                            cluster.cache.add(bound)
                    placed.append(a_pod.metadata.uid)
    return both[1]


@given(
    seed=st.integers(0, 2**32),
    node_count=st.integers(1, 12),
    percentage=st.sampled_from([0, 100]),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_vectorised_decides_as_the_reference(seed, node_count, percentage):
    run(seed, node_count, 30, percentage)


@pytest.mark.parametrize("percentage", [0, 5, 100])
def test_vectorised_decides_as_the_reference_where_the_search_stops_early(percentage):
    run(seed=7, node_count=230, steps=25, percentage=percentage)


def test_a_decision_depends_on_nothing_but_cluster_and_seed():
    first, second = (twins(3, 0)[1] for _ in range(2))
    for cluster in (first, second):
        for i in range(150):
            cluster.cache.set_node(node(f"n{i}"))
    for i in range(40):
        a_pod = pod(f"p{i}", requests={"cpu": "100m"})
        places = {cluster.decide(a_pod).node_name for cluster in (first, second)}
        assert len(places) == 1
        for cluster in (first, second):
            cluster.cache.assume(PodInfo(a_pod), places.copy().pop())


def test_no_node_is_overcommitted_and_required_affinity_always_holds():
    fast = run(seed=11, node_count=20, steps=120, percentage=100)
    for info in fast.cache.nodes():
        assert len(info.pods) <= info.allowed_pods or info.pods  # updates may shrink a node
    fresh = twins(5, 100)[1]
    for i in range(10):
        fresh.cache.set_node(
            node(f"n{i}", allocatable={"cpu": "1"}, labels={"disk": "ssd" if i % 2 else "hdd"})
        )
    for i in range(60):
        a_pod = pod(f"p{i}", requests={"cpu": "300m"}, nodeSelector={"disk": "ssd"})
        decision = fresh.decide(a_pod)
        if decision.node_name:
            fresh.cache.assume(PodInfo(a_pod), decision.node_name)
    for info in fresh.cache.nodes():
        assert info.requested.milli_cpu <= 1000
        assert bool(info.pods) == (info.labels["disk"] == "ssd")
        assert len(info.pods) in (0, 3)


def test_the_default_profile_is_supported():
    assert supports(Cluster().framework)
