"""Simulated nodes: real kubelet code, many in one process."""

import asyncio
import random

from podpath.api.scheme import NODES, PODS
from podpath.client.memory import MemoryClient
from podpath.component_base.clock import SystemClock
from podpath.hollow.config import Config
from podpath.hollow.nodes import HollowNodes
from tests.support.kubelets import eventually, new_pod


async def test_pods_run_on_their_nodes_and_statuses_go_in_batches():
    clock = SystemClock()
    client = MemoryClient(clock)
    nodes = HollowNodes(Config(kubeconfig="", nodes=5), client, clock, random.Random(1))
    async with nodes.started():
        task = asyncio.ensure_future(nodes.run())
        await eventually(lambda: nodes.ready, [task])
        assert len((await client.list(NODES)).items) == 5
        for i in range(50):
            pod = new_pod(f"p{i}")
            pod.spec.nodeName = f"node-{i % 5}"
            await client.create(PODS, pod)

        async def all_run():
            return all(p.status.phase == "Running" for p in (await client.list(PODS)).items)

        await eventually(all_run, [task])
        pods = (await client.list(PODS)).items
        assert len({p.status.podIP for p in pods}) == 50
        writer = nodes.shared.status_writer
        assert writer.writes == 50
        assert writer.calls < 50
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
