"""A node that was silent reports again as soon as it sees what was written about it."""

import asyncio
import random

from kubelet.machine import Machine, Usage
from kubelet.node_object import NodeHealth, NodeIdentity
from kubelet.node_status import NodeStatus
from kubelet.own_node import OwnNode
from podpath.api.scheme import NODES
from podpath.client.informer import Informer
from podpath.client.interface import Selection
from podpath.client.memory import MemoryClient
from podpath.component_base.clock import SystemClock


async def test_a_condition_that_others_set_to_unknown_is_contradicted_at_once():
    client, clock = MemoryClient(), SystemClock()
    identity = NodeIdentity("n", Machine(1000, 1 << 30, 1 << 30), ("10.0.0.1",), 10250)

    async def health():
        return NodeHealth((), Usage(1 << 30, 1 << 30, 1 << 30, 1000))

    status = NodeStatus(client, clock, identity, health, update_s=3600, report_s=3600)
    await status.register()
    informer = Informer(
        client,
        NODES,
        clock=clock,
        rng=random.Random(1),
        selection=Selection(field_selector="metadata.name=n"),
    )
    own = OwnNode(informer, status)
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(informer.run()), tasks.create_task(own.run())]
        await status.update()
        await informer.wait_synced()
        node = await client.get(NODES, "", "n")
        for condition in node.status.conditions:
            condition.status = "Unknown"
        await client.update_status(NODES, node)
        while not all(
            c.status != "Unknown" for c in (await client.get(NODES, "", "n")).status.conditions
        ):
            await asyncio.sleep(0.01)
        for task in running:
            task.cancel()
