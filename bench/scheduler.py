"""Throughput of the scheduler: `python -m bench.scheduler`.

`pure`: decisions without I/O, all default plugins on, in the shapes of upstream's scheduler_perf.
`stack`: the running scheduler on podpath's API server and etcd, and the real kube-scheduler on the
real control plane where its programs are there; Pods are created in batches and watched until all
are bound.
"""

import argparse
import json
import random
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from podpath.component_base.clock import SystemClock
from protos.k8s.core_v1_pb2 import Node, Pod
from scheduler.cache import Cache
from scheduler.framework.handle import Handle
from scheduler.listers import StoreListers
from scheduler.plugins.registry import default_framework
from scheduler.pod_info import PodInfo
from scheduler.schedule_one import SchedulingAlgorithm
from scheduler.vectorised.algorithm import VectorisedAlgorithm

HOSTNAME = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"


def node(i: int) -> Node:
    made = Node()
    made.metadata.name = f"node-{i}"
    made.metadata.labels.update({HOSTNAME: f"node-{i}", ZONE: f"zone-{i % 3}"})
    for resource, amount in {"cpu": "32", "memory": "128Gi", "pods": "110"}.items():
        made.status.allocatable[resource].string = amount
    return made


def pod(i: int, app: str = "basic", priority: int = 0, cpu: str = "100m", **spec) -> Pod:
    made = Pod(spec={"priority": priority, **spec})
    made.metadata.name = f"{app}-{i}"
    made.metadata.namespace = "default"
    made.metadata.uid = f"{app}-{i}"
    made.metadata.labels["app"] = app
    container = made.spec.containers.add(name="c", image="registry.invalid/pause:3.10")
    container.resources.requests["cpu"].string = cpu
    container.resources.requests["memory"].string = "500Mi"
    return made


def spreading(key: str, action: str) -> dict:
    selector = {"matchLabels": {"app": "spread"}}
    constraint = {"maxSkew": 5, "topologyKey": key, "whenUnsatisfiable": action}
    return {"topologySpreadConstraints": [{**constraint, "labelSelector": selector}]}


def inter_pod(kind: str, *, required: bool, key: str, app: str) -> dict:
    term = {"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": key}
    if required:
        return {"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}}
    weighted = [{"weight": 1, "podAffinityTerm": term}]
    return {"affinity": {kind: {"preferredDuringSchedulingIgnoredDuringExecution": weighted}}}


Shapes = dict[str, Callable[[int], Pod]]

SHAPES: Shapes = {
    "basic": pod,
    "spreading, required": lambda i: pod(i, "spread", **spreading(ZONE, "DoNotSchedule")),
    "spreading, preferred": lambda i: pod(i, "spread", **spreading(ZONE, "ScheduleAnyway")),
    "pod affinity, required": lambda i: pod(
        i, "near", **inter_pod("podAffinity", required=True, key=ZONE, app="near")
    ),
    "pod affinity, preferred": lambda i: pod(
        i, "like", **inter_pod("podAffinity", required=False, key=HOSTNAME, app="like")
    ),
    "pod anti-affinity, required": lambda i: pod(
        i,
        f"alone{i % 10}",
        **inter_pod("podAntiAffinity", required=True, key=HOSTNAME, app=f"alone{i % 10}"),
    ),
    "pod anti-affinity, preferred": lambda i: pod(
        i, "shy", **inter_pod("podAntiAffinity", required=False, key=HOSTNAME, app="shy")
    ),
    "unschedulable": lambda i: pod(i, "huge", cpu="64"),
    "mixed": lambda i: SHAPES[MIX[i % len(MIX)]](i),
}
MIX = (
    "basic",
    "spreading, required",
    "basic",
    "pod affinity, preferred",
    "basic",
    "pod anti-affinity, preferred",
    "spreading, preferred",
)


@dataclass(frozen=True)
class Measured:
    shape: str
    nodes: int
    decisions: int
    seconds: float
    placed: int
    cpu_seconds: float = 0.0

    @property
    def rate(self) -> float:
        return self.decisions / self.seconds


class Watch:
    """Wall and processor time since it was made: the machine may be shared."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def measured(self, shape: str, nodes: int, decisions: int, placed: int) -> Measured:
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        return Measured(shape, nodes, decisions, wall, placed, cpu)


class World:
    """A cluster in memory with one Pod in ten already on each node."""

    def __init__(self, node_count: int, *, vectorised: bool = True, percentage: int = 0) -> None:
        self.cache = Cache()
        self.clock = SystemClock()
        listers = StoreListers.holding()
        handle = Handle(self.cache, listers, random.Random(1), self.clock)
        self.framework = default_framework(handle)
        plain = SchedulingAlgorithm(random.Random(1), percentage)
        self.algorithm = (
            VectorisedAlgorithm(self.framework, self.cache, listers, plain) if vectorised else plain
        )
        for i in range(node_count):
            self.cache.set_node(node(i))

    def decide(self, info: PodInfo) -> str:
        decision = self.algorithm.schedule(self.framework, info, self.cache.nodes())
        if decision.node_name:
            self.cache.assume(info, decision.node_name)
        elif decision.post_filter is not None:
            for victim in decision.post_filter.victims:
                self.cache.remove(victim.uid)
        return decision.node_name


def pure(shape: str, node_count: int, decisions: int, *, vectorised: bool = True) -> Measured:
    """Decides and assumes; parsing Pods is not counted: it happens when the watch brings them."""
    world = World(node_count, vectorised=vectorised)
    for i in range(node_count):
        world.decide(PodInfo(pod(i, "existing")))
    infos = [PodInfo(SHAPES[shape](i)) for i in range(decisions)]
    for info in infos:
        info.signature  # noqa: B018 - computed with the parsing
    world.decide(infos[0])
    watch = Watch()
    placed = sum(bool(world.decide(info)) for info in infos[1:])
    return watch.measured(shape, node_count, decisions - 1, placed)


def churn(node_count: int, decisions: int) -> Measured:
    """Each decision is followed by the end of an older Pod."""
    world = World(node_count)
    infos = [PodInfo(SHAPES["mixed"](i)) for i in range(decisions)]
    for info in infos:
        info.signature  # noqa: B018
    watch = Watch()
    placed = 0
    for i, info in enumerate(infos):
        placed += bool(world.decide(info))
        if i >= node_count:
            world.cache.remove(infos[i - node_count].uid)
    return watch.measured("mixed with churn", node_count, decisions, placed)


def preemption(node_count: int, decisions: int) -> Measured:
    """All nodes are full of Pods of low priority; each decision evicts and nominates."""
    world = World(node_count)
    for i in range(node_count):
        for k in range(4):
            world.cache.assume(PodInfo(pod(i * 4 + k, "low", cpu="8")), f"node-{i}")
    infos = [PodInfo(pod(i, "high", priority=100, cpu="8")) for i in range(decisions)]
    watch = Watch()
    for info in infos:
        world.decide(info)  # finds victims, which leave at once
        world.decide(info)
    placed = sum(info.uid in world.cache for info in infos)
    return watch.measured("preemption", node_count, decisions, placed)


def calibration() -> float:
    """Million steps of a plain loop in a second of processor time: what the machine gives just now.

    Other work on it makes a processor second worth less: figures compare only beside this one.
    """
    start = time.process_time()
    total = 0
    for i in range(5_000_000):
        total += i & 7
    return 5 / (time.process_time() - start)


def all_pure(sizes: tuple[int, ...], decisions: int) -> Iterator[Measured]:
    for size in sizes:
        for shape in SHAPES:
            yield pure(shape, size, decisions)
        yield churn(size, decisions)
        yield preemption(size, max(decisions // 20, 20))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.scheduler", description=__doc__)
    parser.add_argument("--nodes", default="500,1000,5000")
    parser.add_argument("--decisions", type=int, default=5000)
    parser.add_argument("--shape", default="")
    parser.add_argument("--output", default="table", choices=("table", "json"))
    options = parser.parse_args()
    sizes = tuple(int(n) for n in options.nodes.split(","))
    if options.shape:
        results = [pure(options.shape, size, options.decisions) for size in sizes]
    else:
        results = all_pure(sizes, options.decisions)
    print(f"calibration: {calibration():.1f} million steps a second", file=sys.stderr)
    for m in results:
        if options.output == "json":
            print(json.dumps({**m.__dict__, "rate": round(m.rate, 1)}))
        else:
            per_cpu = m.decisions / m.cpu_seconds
            print(
                f"{m.shape:30} {m.nodes:6} nodes {m.rate:8.0f} decisions/s "
                f"{per_cpu:8.0f} per CPU second   placed {m.placed}"
            )
        sys.stdout.flush()
    print(f"calibration: {calibration():.1f} million steps a second", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
