"""Objects for tests of controllers, in few words; controllers that run without a server."""

import asyncio
import random
from contextlib import asynccontextmanager

from controllers.reconciler import Context, Settings
from podpath.api.errors import ApiError
from podpath.api.scheme import DEPLOYMENTS
from podpath.client.informer import InformerFactory
from protos.k8s.apps_v1_pb2 import Deployment, ReplicaSet
from protos.k8s.core_v1_pb2 import Pod

NOW = 1_700_000_000


async def settle():
    for _ in range(60):
        await asyncio.sleep(0)


@asynccontextmanager
async def running(client, clock, *classes):
    informers = InformerFactory(client, clock=clock, rng=random.Random(1))
    settings = Settings(terminated_pod_gc_threshold=2)
    context = Context(client, informers, clock, random.Random(1), settings)
    started = [cls(context) for cls in classes]
    runs = [informers, *context.recorders, *started]
    tasks = [asyncio.ensure_future(one.run()) for one in runs]
    await settle()
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def change_web(client, change):
    """Read, modify, write Deployment ns/web, until nobody was faster."""
    while True:
        deployment = await client.get(DEPLOYMENTS, "ns", "web")
        change(deployment)
        try:
            await client.update(DEPLOYMENTS, deployment)
        except ApiError as error:
            if error.reason != "Conflict":
                raise
        else:
            return


def a_pod(name="p", *, node="n", phase="Running", ready_since=None, created=NOW - 1000, owner=""):
    pod = Pod()
    pod.metadata.name, pod.metadata.namespace, pod.metadata.uid = name, "ns", f"uid-{name}"
    pod.metadata.creationTimestamp.seconds = created
    pod.metadata.labels["app"] = "web"
    if owner:
        pod.metadata.ownerReferences.add(
            apiVersion="apps/v1", kind="ReplicaSet", name=owner, uid=f"uid-{owner}", controller=True
        )
    pod.spec.nodeName = node
    pod.status.phase = phase
    if ready_since is not None:
        pod.status.conditions.add(type="Ready", status="True")
        pod.status.conditions[0].lastTransitionTime.seconds = ready_since
    return pod


def a_replica_set(name="web-1", replicas=3, *, image="one", **status):
    rs = ReplicaSet()
    rs.metadata.name, rs.metadata.namespace, rs.metadata.uid = name, "ns", f"uid-{name}"
    rs.metadata.creationTimestamp.seconds = NOW - 1000
    rs.spec.replicas = replicas
    rs.spec.selector.matchLabels["app"] = "web"
    rs.spec.template.metadata.labels["app"] = "web"
    rs.spec.template.spec.containers.add(name="c", image=image)
    for field, value in status.items():
        setattr(rs.status, field, value)
    return rs


def a_deployment(name="web", replicas=3, *, image="one", surge="25%", unavailable="25%"):
    deployment = Deployment()
    meta = deployment.metadata
    meta.name, meta.namespace, meta.uid, meta.generation = name, "ns", f"uid-{name}", 1
    spec = deployment.spec
    spec.replicas = replicas
    spec.selector.matchLabels["app"] = "web"
    spec.template.metadata.labels["app"] = "web"
    spec.template.spec.containers.add(name="c", image=image)
    spec.strategy.type = "RollingUpdate"
    int_or_string(spec.strategy.rollingUpdate.maxSurge, surge)
    int_or_string(spec.strategy.rollingUpdate.maxUnavailable, unavailable)
    spec.progressDeadlineSeconds = 600
    spec.revisionHistoryLimit = 10
    return deployment


def int_or_string(field, value):
    if isinstance(value, int):
        field.type, field.intVal = 0, value
    else:
        field.type, field.strVal = 1, value
