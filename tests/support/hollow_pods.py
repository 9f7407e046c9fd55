"""A stand-in for scheduler and kubelet: Pods are bound, run at once, and end when deleted."""

import asyncio
from contextlib import asynccontextmanager

from podpath.api.errors import ApiError
from podpath.api.scheme import PODS
from podpath.client.interface import EventType
from protos.k8s.core_v1_pb2 import Binding
from protos.k8s.meta_v1_pb2 import DeleteOptions


@asynccontextmanager
async def hollow_pods(client, *, node="hollow"):
    """Runs every Pod that `client` shows on one node."""
    task = asyncio.ensure_future(_run(client, node))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _run(client, node):
    async for events in client.watch(PODS, resource_version="0"):
        for event in events:
            if event.type in (EventType.ADDED, EventType.MODIFIED):
                try:
                    await _advance(client, node, event.object)
                except ApiError as error:
                    # The Pod changed meanwhile: its next event brings it here again.
                    if error.reason not in ("NotFound", "Conflict"):
                        raise


async def _advance(client, node, pod):
    meta = pod.metadata
    if meta.HasField("deletionTimestamp"):
        await client.delete(PODS, meta.namespace, meta.name, DeleteOptions(gracePeriodSeconds=0))
    elif not pod.spec.nodeName:
        binding = Binding()
        binding.metadata.namespace, binding.metadata.name = meta.namespace, meta.name
        binding.target.kind, binding.target.name = "Node", node
        await client.bind(binding)
    elif pod.status.phase == "Pending":
        running = type(pod)()
        running.CopyFrom(pod)
        running.status.phase = "Running"
        running.status.conditions.add(type="Ready", status="True")
        running.status.conditions[-1].lastTransitionTime.seconds = meta.creationTimestamp.seconds
        await client.update_status(PODS, running)
