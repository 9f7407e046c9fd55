"""`podpath trace POD`: the steps of one Pod's creation, gathered from every process' ring."""

from dataclasses import dataclass

import orjson

from podpath.api import scheme
from podpath.api.errors import ApiError
from podpath.cli import diagnostics
from podpath.cli.layout import ClusterError, Layout
from podpath.client import kubeconfig
from podpath.client.grpc import GrpcClient
from podpath.component_base.pod_trace import PodStep


@dataclass(frozen=True, slots=True)
class TracedStep:
    """One step as one process took it. `at_ms` counts from the first stamp."""

    number: str
    step: str
    meaning: str
    component: str
    at_ms: float
    decision: str


async def find_uid(layout: Layout, pod: str) -> str:
    """The uid of `NAME`, `NAMESPACE/NAME`, or a uid as it is (for Pods that are gone)."""
    if pod.count("-") == 4 and "/" not in pod and len(pod) == 36:
        return pod
    namespace, _, name = pod.rpartition("/")
    async with GrpcClient(kubeconfig.load(layout.kubeconfig)) as client:
        try:
            found = await client.get(scheme.PODS, namespace or "default", name)
        except ApiError as error:
            raise ClusterError(str(error)) from error
    return found.metadata.uid


def gather(layout: Layout, uid: str) -> list[TracedStep]:
    """The first stamp of each step, in the order of the path; empty when no ring knows the Pod."""
    first: dict[PodStep, tuple[int, str, str]] = {}
    for socket in sorted((layout.directory / "run").glob("*-diag.sock")):
        component = socket.name.removesuffix("-diag.sock")
        status, body = diagnostics.get(socket, f"/debug/podtrace?uid={uid}")
        if status != 200:
            continue
        for record in orjson.loads(body):
            step, at = PodStep[record["step"]], record["at"]
            if step not in first or at < first[step][0]:
                first[step] = (at, component, record["decision"])
    if not first:
        return []
    start = min(at for at, _, _ in first.values())
    return [
        TracedStep(step.number, step.name, step.meaning, component, (at - start) / 1e6, decision)
        for step in PodStep
        if step in first
        for at, component, decision in [first[step]]
    ]
