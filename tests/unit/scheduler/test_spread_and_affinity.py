"""Tables for PodTopologySpread and InterPodAffinity."""

import pytest

from podpath.api import scheme
from protos.k8s.apps_v1_pb2 import ReplicaSet
from protos.k8s.core_v1_pb2 import Namespace, Service
from tests.support.scheduling import HOSTNAME, ZONE, Cluster, node, pod

SKEWED = ["node(s) didn't match pod topology spread constraints"]
NO_LABEL = ["node(s) didn't match pod topology spread constraints (missing required label)"]
FOO = {"foo": "bar"}


def constraint(skew=1, key=ZONE, action="DoNotSchedule", labels=FOO, **more):
    return {
        "maxSkew": skew,
        "topologyKey": key,
        "whenUnsatisfiable": action,
        "labelSelector": {"matchLabels": labels},
        **more,
    }


def zones():
    return [
        node("a", zone="z1"),
        node("b", zone="z1"),
        node("x", zone="z2"),
        node("y", zone="z2"),
    ]


def placed(*names, labels=FOO, **more):
    """Pods on the named nodes, in order."""
    return [pod(f"on-{n}-{i}", labels=labels, node=n, **more) for i, n in enumerate(names)]


@pytest.mark.parametrize(
    ("existing", "constraints", "labels", "rejected"),
    [
        pytest.param([], [constraint()], FOO, {}, id="no pods"),
        pytest.param(
            placed("a", "b"), [constraint()], FOO, {"a": SKEWED, "b": SKEWED}, id="z1 is full"
        ),
        pytest.param(
            placed("a", "b"), [constraint(2)], FOO, {"a": SKEWED, "b": SKEWED}, id="skew 2"
        ),
        pytest.param(placed("a", "b"), [constraint(3)], FOO, {}, id="skew 3"),
        pytest.param(placed("a", "b"), [constraint(2)], {}, {}, id="itself does not count"),
        pytest.param(
            placed("a", "b", namespace="other"), [constraint()], FOO, {}, id="another namespace"
        ),
        pytest.param(
            placed("a", "b", "y", "y", "x", "a"),
            [constraint(key=HOSTNAME)],
            FOO,
            {"a": SKEWED, "y": SKEWED},
            id="by hostname, 2 1 1 2",
        ),
        pytest.param(
            placed("a", "b", "y", "x"),
            [constraint(), constraint(key=HOSTNAME)],
            FOO,
            {},
            id="both, even",
        ),
        pytest.param(
            placed("a", "a", "b", "x", "y"),
            [constraint(), constraint(key=HOSTNAME)],
            FOO,
            {"a": SKEWED, "b": SKEWED},
            id="both, z1 has one more",
        ),
        pytest.param(
            [], [constraint(key="rack")], FOO, dict.fromkeys("abxy", NO_LABEL), id="no label"
        ),
        pytest.param(
            placed("a"),
            [constraint(minDomains=3)],
            FOO,
            {"a": SKEWED, "b": SKEWED},
            id="minDomains",
        ),
        pytest.param(
            placed("a"), [constraint(minDomains=2)], FOO, {"a": SKEWED, "b": SKEWED}, id="enough"
        ),
        pytest.param(
            placed("a", labels={"foo": "bar", "v": "1"}),
            [constraint(matchLabelKeys=["v"])],
            {"foo": "bar", "v": "2"},
            {},
            id="matchLabelKeys tell versions apart",
        ),
        pytest.param(
            placed("a", labels={"foo": "bar", "v": "2"}),
            [constraint(matchLabelKeys=["v"])],
            {"foo": "bar", "v": "2"},
            {"a": SKEWED, "b": SKEWED},
            id="matchLabelKeys, same version",
        ),
        pytest.param(
            placed("a"), [constraint(labels={})], FOO, {}, id="empty selector counts none"
        ),
    ],
)
def test_hard_constraints(existing, constraints, labels, rejected):
    cluster = Cluster(zones(), existing)
    assert cluster.rejections(pod(labels=labels, topologySpreadConstraints=constraints)) == rejected


@pytest.mark.parametrize(
    ("policies", "rejected"),
    [
        pytest.param({}, {"a": SKEWED}, id="affinity is honoured: x is no domain"),
        pytest.param(
            {"nodeAffinityPolicy": "Ignore"}, {"a": SKEWED}, id="ignored: z2 without Pods counts"
        ),
    ],
)
def test_node_affinity_policy(policies, rejected):
    nodes = [
        node("a", zone="z1", labels={"pick": "y"}),
        node("b", zone="z3", labels={"pick": "y"}),
        node("x", zone="z2"),
    ]
    existing = placed("a", "a", "b")
    found = Cluster(nodes, existing).rejections(
        pod(
            labels=FOO,
            nodeSelector={"pick": "y"},
            topologySpreadConstraints=[constraint(1, **policies)],
        )
    )
    assert found.pop("x") == ["node(s) didn't match Pod's node affinity/selector"]
    expected = dict(rejected)
    if policies:
        expected["b"] = SKEWED  # 1 + 1 - 0 > 1: the least domain is the one it may not use
    assert found == expected


def test_node_taints_policy_leaves_tainted_domains_out():
    tainted = node("x", zone="z2", taints=[{"key": "k", "effect": "NoSchedule"}])
    nodes = [node("a", zone="z1"), tainted]
    ignoring = pod(labels=FOO, topologySpreadConstraints=[constraint()])
    honouring = pod(labels=FOO, topologySpreadConstraints=[constraint(nodeTaintsPolicy="Honor")])
    cluster = Cluster(nodes, placed("a"))
    assert cluster.rejections(ignoring)["a"] == SKEWED
    assert "a" not in cluster.rejections(honouring)


def test_soft_constraints_prefer_the_emptier_domain():
    cluster = Cluster(zones(), placed("a", "b", "x"))
    a_pod = pod(labels=FOO, topologySpreadConstraints=[constraint(action="ScheduleAnyway")])
    # Two zones: weight ln(4); 2 and 1 Pods give 2.77 and 1.39.
    assert cluster.scores(a_pod, "PodTopologySpread") == {"a": 3, "b": 3, "x": 1, "y": 1}
    assert cluster.normalized(a_pod, "PodTopologySpread", 2) == {
        "a": 33,
        "b": 33,
        "x": 100,
        "y": 100,
    }


def test_soft_constraints_ignore_nodes_without_the_label():
    nodes = [node("a", zone="z1"), node("b", zone="z2"), node("nowhere")]
    cluster = Cluster(nodes, placed("a"))
    a_pod = pod(labels=FOO, topologySpreadConstraints=[constraint(action="ScheduleAnyway")])
    assert cluster.normalized(a_pod, "PodTopologySpread", 2) == {"a": 0, "b": 100, "nowhere": 0}


@pytest.mark.parametrize(
    "objects",
    [
        pytest.param(
            [
                (
                    scheme.SERVICES,
                    Service(metadata={"name": "s", "namespace": "default"}, spec={"selector": FOO}),
                )
            ],
            id="a service selects it",
        ),
        pytest.param(
            [
                (
                    scheme.REPLICASETS,
                    ReplicaSet(
                        metadata={"name": "rs", "namespace": "default"},
                        spec={"selector": {"matchLabels": FOO}},
                    ),
                )
            ],
            id="a replica set owns it",
        ),
    ],
)
def test_system_defaults_spread_pods_of_a_service_or_controller(objects):
    a_pod = pod(labels=FOO)
    a_pod.metadata.ownerReferences.add(
        apiVersion="apps/v1", kind="ReplicaSet", name="rs", uid="u", controller=True
    )
    cluster = Cluster(zones(), placed("a", "a"), objects)
    found = cluster.normalized(a_pod, "PodTopologySpread", 2)
    assert found["a"] < found["b"] < found["x"] == found["y"] == 100


def test_without_service_or_controller_nothing_is_spread():
    cluster = Cluster(zones(), placed("a"))
    assert "PodTopologySpread" not in cluster.decide(pod(labels=FOO)).explain().scores[0].raw


NO_AFFINITY = ["node(s) didn't match pod affinity rules"]
ANTI = ["node(s) didn't match pod anti-affinity rules"]
EXISTING = ["node(s) didn't satisfy existing pods anti-affinity rules"]


def term(labels=FOO, key=ZONE, **more):
    return {"labelSelector": {"matchLabels": labels}, "topologyKey": key, **more}


def near(*terms):
    return {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": list(terms)}}


def away(*terms):
    return {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": list(terms)}}


def prefer(kind, *weighted):
    listed = [{"weight": w, "podAffinityTerm": t} for w, t in weighted]
    return {kind: {"preferredDuringSchedulingIgnoredDuringExecution": listed}}


def namespaces(**labels):
    return [
        (scheme.NAMESPACES, Namespace(metadata={"name": name, "labels": of}))
        for name, of in labels.items()
    ]


@pytest.mark.parametrize(
    ("existing", "spec", "labels", "rejected"),
    [
        pytest.param(placed("a"), near(term()), {}, dict.fromkeys("xy", NO_AFFINITY), id="near"),
        pytest.param(
            placed("a"),
            near(term(key=HOSTNAME)),
            {},
            dict.fromkeys("bxy", NO_AFFINITY),
            id="same host",
        ),
        pytest.param(
            [], near(term()), {}, dict.fromkeys("abxy", NO_AFFINITY), id="nobody to be near"
        ),
        pytest.param([], near(term()), FOO, {}, id="the first of its group"),
        pytest.param(
            placed("a"),
            near(term(key="rack")),
            FOO,
            dict.fromkeys("abxy", NO_AFFINITY),
            id="no label",
        ),
        pytest.param(
            placed("a", namespace="other"),
            near(term()),
            {},
            dict.fromkeys("abxy", NO_AFFINITY),
            id="namespace",
        ),
        pytest.param(
            placed("a", namespace="other"),
            near(term(namespaces=["other"])),
            {},
            dict.fromkeys("xy", NO_AFFINITY),
            id="named namespace",
        ),
        pytest.param(
            placed("a", namespace="other"),
            near(term(namespaceSelector={"matchLabels": {"team": "o"}})),
            {},
            dict.fromkeys("xy", NO_AFFINITY),
            id="selected namespace",
        ),
        pytest.param(
            placed("a", namespace="other"),
            near(term(namespaceSelector={})),
            {},
            dict.fromkeys("xy", NO_AFFINITY),
            id="all namespaces",
        ),
        pytest.param(placed("a"), away(term()), {}, dict.fromkeys("ab", ANTI), id="away"),
        pytest.param(placed("a"), away(term(key=HOSTNAME)), {}, {"a": ANTI}, id="another host"),
        pytest.param(
            placed("a", labels={}, affinity=away(term())),
            {},
            FOO,
            dict.fromkeys("ab", EXISTING),
            id="one there does not want it",
        ),
        pytest.param(
            placed(
                "a",
                labels={},
                affinity=away(term(namespaceSelector={"matchLabels": {"team": "d"}})),
            ),
            {},
            FOO,
            dict.fromkeys("ab", EXISTING),
            id="one there does not want its namespace",
        ),
        pytest.param(
            placed("a", labels={}, affinity=away(term())),
            {},
            {"foo": "baz"},
            {},
            id="it is not meant",
        ),
        pytest.param(
            [*placed("a"), *placed("x", labels={"sec": "s2"})],
            {**near(term()), **away(term({"sec": "s2"}))},
            {},
            dict.fromkeys("xy", NO_AFFINITY),
            id="near one and away from another",
        ),
        pytest.param(
            placed("a", labels={"foo": "bar", "v": "1"}),
            away(term(matchLabelKeys=["v"])),
            {"foo": "bar", "v": "2"},
            {},
            id="matchLabelKeys",
        ),
        pytest.param(
            placed("a", labels={"foo": "bar", "v": "1"}),
            away(term(mismatchLabelKeys=["v"])),
            {"foo": "bar", "v": "2"},
            dict.fromkeys("ab", ANTI),
            id="mismatchLabelKeys",
        ),
    ],
)
def test_required_pod_affinity(existing, spec, labels, rejected):
    cluster = Cluster(zones(), existing, namespaces(other={"team": "o"}, default={"team": "d"}))
    assert cluster.rejections(pod(labels=labels, affinity=spec)) == rejected


@pytest.mark.parametrize(
    ("existing", "spec", "labels", "raw", "normalized"),
    [
        pytest.param(
            placed("a"),
            prefer("podAffinity", (8, term())),
            {},
            [8, 8, 0, 0],
            [100, 100, 0, 0],
            id="near",
        ),
        pytest.param(
            placed("a"),
            prefer("podAntiAffinity", (8, term())),
            {},
            [-8, -8, 0, 0],
            [0, 0, 100, 100],
            id="rather away",
        ),
        pytest.param(
            placed("a", labels={}, affinity=prefer("podAffinity", (5, term()))),
            {},
            FOO,
            [5, 5, 0, 0],
            [100, 100, 0, 0],
            id="one there would like it",
        ),
        pytest.param(
            placed("a", labels={}, affinity=prefer("podAntiAffinity", (5, term(key=HOSTNAME)))),
            {},
            FOO,
            [-5, 0, 0, 0],
            [0, 100, 100, 100],
            id="one there would rather not",
        ),
        pytest.param(
            placed("a", labels=FOO, affinity=near(term())),
            {},
            FOO,
            [1, 1, 0, 0],
            [100, 100, 0, 0],
            id="a required affinity counts one",
        ),
        pytest.param(
            placed("a", "a", "x"),
            prefer("podAffinity", (3, term()), (2, term(key=HOSTNAME))),
            {},
            [10, 6, 5, 3],
            [100, 42, 28, 0],
            id="terms and Pods add up",
        ),
    ],
)
def test_preferred_pod_affinity(existing, spec, labels, raw, normalized):
    cluster = Cluster(zones(), existing)
    a_pod = pod(labels=labels, affinity=spec)
    assert cluster.scores(a_pod, "InterPodAffinity") == dict(zip("abxy", raw, strict=True))
    assert cluster.normalized(a_pod, "InterPodAffinity", 2) == dict(
        zip("abxy", normalized, strict=True)
    )
