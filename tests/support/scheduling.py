"""Small clusters for scheduler tests: Pods and nodes by a few words, a cache that holds them."""

import random

from podpath.component_base.clock import FakeClock
from protos.k8s.core_v1_pb2 import Node, Pod
from scheduler.cache import Cache
from scheduler.framework.handle import Handle
from scheduler.listers import StoreListers
from scheduler.plugins.registry import default_framework
from scheduler.pod_info import PodInfo
from scheduler.schedule_one import SchedulingAlgorithm

HOSTNAME = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"


def pod(
    name="p", *, namespace="default", labels=None, requests=None, node="", priority=0, **spec
) -> Pod:
    built = Pod(spec={"nodeName": node, "priority": priority, **spec})
    meta = built.metadata
    meta.name, meta.namespace, meta.uid = name, namespace, f"uid-{namespace}-{name}"
    meta.labels.update(labels or {})
    if not built.spec.containers:
        container = built.spec.containers.add(name="c")
        for resource, amount in (requests or {}).items():
            container.resources.requests[resource].string = amount
    return built


def node(name="n", *, labels=None, allocatable=None, zone="", images=None, **spec) -> Node:
    built = Node(spec=spec)
    built.metadata.name = name
    built.metadata.labels.update(
        {HOSTNAME: name, **({ZONE: zone} if zone else {}), **(labels or {})}
    )
    amounts = {"cpu": "4", "memory": "8Gi", "pods": "110", **(allocatable or {})}
    for resource, amount in amounts.items():
        built.status.allocatable[resource].string = amount
    for image, size in (images or {}).items():
        built.status.images.add(names=[image], sizeBytes=size)
    return built


class Cluster:
    """A cache, listers and the default profile over them."""

    def __init__(self, nodes=(), pods=(), objects=(), *, seed=1, percentage=100):
        self.cache = Cache()
        self.clock = FakeClock()
        self.listers = StoreListers.holding(objects)
        self.handle = Handle(self.cache, self.listers, random.Random(seed), self.clock)
        self.framework = default_framework(self.handle)
        self.algorithm = SchedulingAlgorithm(random.Random(seed), percentage)
        for one in nodes:
            self.cache.set_node(one)
        for one in pods:
            self.cache.add(one)

    def decide(self, a_pod):
        self.decided = PodInfo(a_pod)
        return self.algorithm.schedule(self.framework, self.decided, self.cache.nodes())

    def rejections(self, a_pod):
        """{node: reasons} of the nodes that do not fit; {"": reasons} for a PreFilter rejection."""
        decision = self.decide(a_pod)
        error = decision.fit_error
        if error is not None and error.pre_filter is not None:
            return {"": list(error.pre_filter.reasons)}
        return {n: list(s.reasons) for n, s in decision.explain().rejected.items()}

    def scores(self, a_pod, plugin):
        """{node: the plugin's raw score}."""
        return {s.name: s.raw[plugin] for s in self.decide(a_pod).explain().scores}

    def normalized(self, a_pod, plugin, weight):
        scores = self.decide(a_pod).explain().scores
        return {s.name: s.by_plugin[plugin] // weight for s in scores}
