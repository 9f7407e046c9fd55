"""The scheduler's process over a real API server and etcd, with nodes that nobody runs."""

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from contextlib import asynccontextmanager, contextmanager

import pytest

from podpath.api import scheme
from podpath.api.errors import ApiError
from podpath.client import kubeconfig
from podpath.client.interface import EventType
from protos.k8s.core_v1_pb2 import Node, Pod, ServiceAccount
from protos.k8s.scheduling_v1_pb2 import PriorityClass
from tests.support.apiserver import running_apiserver

pytestmark = pytest.mark.integration

HOSTNAME, ZONE = "kubernetes.io/hostname", "topology.kubernetes.io/zone"


class SchedulerProcess:
    def __init__(self, config, directory, name, *flags):
        path = directory / f"{name}.kubeconfig"
        kubeconfig.write(path, config)
        self._log = directory / f"{name}.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                (
                    *(sys.executable, "-m", "scheduler", f"--kubeconfig={path}"),
                    "--leader-elect-lease-duration=2s",
                    "--leader-elect-renew-deadline=1.5s",
                    "--leader-elect-retry-period=300ms",
                    "--pod-initial-backoff-seconds=0.2",
                    *flags,
                ),
                stdout=log,
                stderr=log,
            )

    @property
    def log(self):
        return self._log.read_text()

    def kill(self):
        self._end(signal.SIGKILL)

    def stop(self):
        self._end(signal.SIGTERM)

    def _end(self, number):
        if self._process.poll() is None:
            os.kill(self._process.pid, number)
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


@contextmanager
def scheduling(server, directory, *names, flags=()):
    processes = [SchedulerProcess(server.config("scheduler"), directory, n, *flags) for n in names]
    try:
        yield processes
    finally:
        for process in processes:
            process.stop()


@asynccontextmanager
async def cluster(nodes):
    async with running_apiserver() as server, server.client() as client:
        account = ServiceAccount(metadata={"name": "default", "namespace": "default"})
        await client.create(scheme.SERVICEACCOUNTS, account)
        for made in nodes:
            await client.create(scheme.NODES, made)
        for made in nodes:
            await make_ready(client, made)
        yield server, client


async def make_ready(client, made):
    """Its capacity, which creation drops, and no not-ready taint: no controller lifts it here."""
    found = await client.get(scheme.NODES, "", made.metadata.name)
    found.status.CopyFrom(made.status)
    found = await client.update_status(scheme.NODES, found)
    del found.spec.taints[:]
    await client.update(scheme.NODES, found)


def node(name, zone="", cpu="64", pods="500"):
    made = Node(
        metadata={"name": name, "labels": {HOSTNAME: name, **({ZONE: zone} if zone else {})}}
    )
    for resource, amount in {"cpu": cpu, "memory": "256Gi", "pods": pods}.items():
        made.status.allocatable[resource].string = amount
        made.status.capacity[resource].string = amount
    return made


def pod(name, cpu="10m", labels=None, **spec):
    made = Pod(spec={"terminationGracePeriodSeconds": 0, **spec})
    made.metadata.name, made.metadata.namespace = name, "default"
    made.metadata.labels.update(labels or {})
    container = made.spec.containers.add(name="c", image="img")
    container.resources.requests["cpu"].string = cpu
    return made


async def create_all(client, pods):
    for start in range(0, len(pods), 200):
        for result in await client.create_many(scheme.PODS, pods[start : start + 200]):
            assert not isinstance(result, ApiError), result


async def eventually(condition, timeout_s=60.0):
    async with asyncio.timeout(timeout_s):
        while not (found := await condition()):
            await asyncio.sleep(0.1)
        return found


async def placed(client, count):
    items = (await client.list(scheme.PODS)).items
    found = {p.metadata.name: p.spec.nodeName for p in items if p.spec.nodeName}
    return found if len(found) >= count else None


async def follow(client, seen):
    """Notes every node that a Pod was ever bound to."""
    async for events in client.watch(scheme.PODS, send_initial_events=True):
        for event in events:
            if event.type is not EventType.BOOKMARK and event.object.spec.nodeName:
                uid = event.object.metadata.uid
                seen.setdefault(uid, set()).add(event.object.spec.nodeName)


@pytest.mark.parametrize("takes_over", ["standby", "restart"])
async def test_a_leader_killed_in_a_burst_loses_no_pod_and_binds_none_twice(tmp_path, takes_over):
    count = 5000
    async with cluster([node(f"n{i}", cpu="8") for i in range(20)]) as (server, client):
        seen = {}
        following = asyncio.ensure_future(follow(client, seen))
        names = ["first", "second"] if takes_over == "standby" else ["first"]
        with scheduling(server, tmp_path, *names) as processes:
            await create_all(client, [pod(f"warm{i}") for i in range(5)])
            await eventually(lambda: placed(client, 5))
            burst = [pod(f"p{i}") for i in range(count)]
            creating = asyncio.ensure_future(create_all(client, burst))
            await eventually(lambda: _some(seen, count // 4))
            leader = next(p for p in processes if "leading" in p.log)
            leader.kill()
            at_kill = len(seen)
            await creating
            assert at_kill < count
            if takes_over == "restart":
                with scheduling(server, tmp_path, "again"):
                    found = await eventually(lambda: placed(client, count + 5), 120)
            else:
                found = await eventually(lambda: placed(client, count + 5), 120)
        following.cancel()
        assert len(found) == count + 5
        assert all(len(nodes) == 1 for nodes in seen.values())
        assert max(Counter(found.values()).values()) <= 500


async def _some(seen, count):
    return len(seen) >= count


async def test_an_outage_longer_than_the_lease_costs_the_lead_and_not_the_process(tmp_path):
    async with cluster([node("n0")]) as (server, client):
        with scheduling(server, tmp_path, "one") as (process,):
            await create_all(client, [pod("before")])
            await eventually(lambda: placed(client, 1))
            os.kill(server.pid, signal.SIGSTOP)
            try:
                await eventually(lambda: _lost(process), 90)
            finally:
                os.kill(server.pid, signal.SIGCONT)
            await create_all(client, [pod("after")])
            await eventually(lambda: placed(client, 2), 90)


async def _lost(process):
    return "the lead is lost" in process.log


async def test_preemption_evicts_the_least_important_and_the_pod_takes_their_place(tmp_path):
    async with cluster([node("n0", cpu="4"), node("n1", cpu="4")]) as (server, client):
        for name, value in (("low", 1), ("middle", 5), ("high", 10)):
            await client.create(
                scheme.PRIORITYCLASSES, PriorityClass(metadata={"name": name}, value=value)
            )
        with scheduling(server, tmp_path, "one"):
            await create_all(
                client,
                [
                    pod("middle", "4", priorityClassName="middle", priority=5),
                    pod("low", "4", priorityClassName="low", priority=1),
                ],
            )
            before = await eventually(lambda: placed(client, 2))
            await client.create(
                scheme.PODS, pod("high", "3", priorityClassName="high", priority=10)
            )

            async def high_is_placed():
                return (await client.get(scheme.PODS, "default", "high")).spec.nodeName

            assert await eventually(high_is_placed) == before["low"]
            names = {p.metadata.name for p in (await client.list(scheme.PODS)).items}
            assert names == {"middle", "high"}

            async def told():
                events = (await client.list(scheme.EVENTS)).items
                return [e for e in events if e.reason == "Preempted"]

            (event,) = await eventually(told)
            assert event.involvedObject.name == "low"


async def test_spreading_and_anti_affinity_over_simulated_nodes(tmp_path):
    nodes = [node(f"n{i}", zone=f"z{i % 3}") for i in range(6)]
    web, db = {"app": "web"}, {"app": "db"}
    spread = {
        "maxSkew": 1,
        "topologyKey": ZONE,
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": web},
    }
    alone = {
        "podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [
                {"labelSelector": {"matchLabels": db}, "topologyKey": HOSTNAME}
            ]
        }
    }
    async with cluster(nodes) as (server, client):
        with scheduling(server, tmp_path, "one"):
            webs = [
                pod(f"web{i}", labels=web, topologySpreadConstraints=[spread]) for i in range(12)
            ]
            dbs = [pod(f"db{i}", labels=db, affinity=alone) for i in range(7)]
            await create_all(client, webs + dbs)
            found = await eventually(lambda: placed(client, 18))
            zones = Counter(int(n[1:]) % 3 for p, n in found.items() if p.startswith("web"))
            assert set(zones.values()) == {4}
            hosts = [n for p, n in found.items() if p.startswith("db")]
            assert len(set(hosts)) == len(hosts) == 6

            async def told():
                for p in (await client.list(scheme.PODS)).items:
                    for c in p.status.conditions:
                        if c.type == "PodScheduled" and c.status == "False":
                            return p.metadata.name, c.message
                return None

            name, message = await eventually(told)
            assert message == (
                "0/6 nodes are available: 6 node(s) didn't match pod anti-affinity rules. "
                "preemption: 0/6 nodes are available: "
                "6 No preemption victims found for incoming pod."
            )
            await client.create(scheme.NODES, node("n9"))
            await make_ready(client, node("n9"))
            assert (await eventually(lambda: placed(client, 19)))[name] == "n9"


async def test_a_configuration_file_makes_profiles(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text(
        "apiVersion: kubescheduler.config.k8s.io/v1\n"
        "kind: KubeSchedulerConfiguration\n"
        "leaderElection: {leaderElect: false}\n"
        "profiles:\n"
        "- schedulerName: pack\n"
        "  pluginConfig:\n"
        "  - name: NodeResourcesFit\n"
        "    args: {scoringStrategy: {type: MostAllocated}}\n"
        "  plugins:\n"
        "    score: {disabled: [{name: NodeResourcesBalancedAllocation}]}\n"
        "- schedulerName: default-scheduler\n"
    )
    async with cluster([node(f"n{i}", cpu="4") for i in range(3)]) as (server, client):
        with scheduling(server, tmp_path, "one", flags=(f"--config={file}",)):
            await create_all(client, [pod("seed", "500m")])
            where = (await eventually(lambda: placed(client, 1)))["seed"]
            packed = [pod(f"pack{i}", "100m", schedulerName="pack") for i in range(6)]
            await create_all(client, packed)
            found = await eventually(lambda: placed(client, 7))
            assert set(found.values()) == {where}
