"""A Pod's life on one kubelet: fake runtime, API server in memory."""

import itertools
import time

import pytest
from opentelemetry.sdk.resources import Resource

from podpath.api.errors import ApiError
from podpath.api.scheme import LEASES, NODES, PODS, RUNTIMECLASSES
from podpath.client.memory import MemoryClient
from podpath.component_base import pod_trace
from podpath.component_base.clock import SystemClock
from podpath.component_base.pod_spans import SpanBuilder
from podpath.component_base.pod_trace import Stamp
from podpath.component_base.traceparent import TRACEPARENT_ANNOTATION, Traceparent
from protos.cri import runtime_v1_pb2 as cri
from protos.k8s.node_v1_pb2 import RuntimeClass
from tests.support.kubelets import (
    add_container,
    eventually,
    new_pod,
    running_kubelet,
    running_shim,
)


@pytest.fixture
async def node():
    async with (
        running_shim() as shim,
        running_kubelet(shim, MemoryClient(SystemClock())) as node,
    ):
        yield node


def phase_is(node, name, phase):
    async def check():
        return (await node.pod(name)).status.phase == phase

    return check


def gone(node, name):
    async def check():
        try:
            await node.pod(name)
        except ApiError as error:
            return error.reason == "NotFound"
        return False

    return check


async def test_node_registers_and_is_ready(node):
    async def ready():
        found = await node.client.get(NODES, "", "node-1")
        return any(c.type == "Ready" and c.status == "True" for c in found.status.conditions)

    await eventually(ready)
    found = await node.client.get(NODES, "", "node-1")
    assert [c.type for c in found.status.conditions] == [
        "MemoryPressure",
        "DiskPressure",
        "PIDPressure",
        "Ready",
    ]
    assert found.metadata.labels["kubernetes.io/hostname"] == "node-1"
    assert found.status.capacity["cpu"].string == "4"
    assert found.status.daemonEndpoints.kubeletEndpoint.Port == 10250
    await eventually(lambda: node.client.get(LEASES, "kube-node-lease", "node-1"))


async def test_create_to_running_to_gone(node):
    await node.create(new_pod())
    await eventually(phase_is(node, "web", "Running"))
    pod = await node.pod("web")
    assert pod.status.podIP
    assert pod.status.hostIP == "10.0.0.1"
    assert pod.status.qosClass == "BestEffort"
    status = pod.status.containerStatuses[0]
    assert status.ready
    assert status.started
    assert status.containerID.startswith("podpath-fake://")
    assert {c.type: c.status for c in pod.status.conditions} == dict.fromkeys(
        ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"),
        "True",
    )
    assert node.runtime.calls.count("RunPodSandbox") == 1
    assert node.runtime.calls.count("StartContainer") == 1
    assert node.events.reasons[:4] == ["Pulling", "Pulled", "Created", "Started"]

    await node.client.delete(PODS, "default", "web")
    await eventually(gone(node, "web"))
    await eventually(lambda: not node.kubelet.pleg.uids())
    assert "Killing" in node.events.reasons


async def test_init_containers_run_first_and_in_order(node):
    pod = new_pod()
    for name in ("first", "second"):
        add_container(pod, name, init=True)
        pod.metadata.annotations[f"fake.podpath.io/{name}.exit-after"] = "0.01"
    await node.create(pod)
    await eventually(phase_is(node, "web", "Running"))
    found = await node.pod("web")
    assert [s.state.terminated.reason for s in found.status.initContainerStatuses] == [
        "Completed",
        "Completed",
    ]
    started = [m for _, reason, m in node.events.events if reason == "Started"]
    assert started == [f"Started container {n}" for n in ("first", "second", "c0")]


async def test_ends_as_succeeded_or_failed(node):
    done = new_pod("done", exit_after="0.01")
    done.spec.restartPolicy = "Never"
    broken = new_pod("broken", exit_after="0.01", exit_code="3")
    broken.spec.restartPolicy = "Never"
    await node.create(done)
    await node.create(broken)
    await eventually(phase_is(node, "done", "Succeeded"))
    await eventually(phase_is(node, "broken", "Failed"))
    ended = (await node.pod("broken")).status.containerStatuses[0].state.terminated
    assert (ended.exitCode, ended.reason) == (3, "Error")


async def test_crash_loop_backs_off(node):
    await node.create(new_pod(exit_after="0.01", exit_code="1"))

    async def backs_off():
        status = (await node.pod("web")).status
        waiting = [s.state.waiting for s in status.containerStatuses]
        return waiting and waiting[0].reason == "CrashLoopBackOff"

    await eventually(backs_off)
    status = (await node.pod("web")).status.containerStatuses[0]
    # The first restart comes at once, the second has to wait.
    assert status.restartCount == 1
    assert status.lastState.terminated.exitCode == 1
    assert status.state.waiting.message.startswith(
        "back-off 10s restarting failed container=c0 pod=web_default("
    )
    assert (await node.pod("web")).status.phase == "Running"


async def test_rejects_what_does_not_fit(node):
    pod = new_pod()
    pod.spec.containers[0].resources.requests["cpu"].string = "5"
    await node.create(pod)
    await eventually(phase_is(node, "web", "Failed"))
    status = (await node.pod("web")).status
    assert status.reason == "OutOfcpu"
    assert "requested: 5000, used: 0, capacity: 4000" in status.message
    assert "RunPodSandbox" not in node.runtime.calls


async def test_failed_sandbox_is_tried_again(node):
    pod = await node.create(new_pod(fail_sandbox="no network"))
    await eventually(lambda: "FailedCreatePodSandBox" in node.events.reasons)
    assert (await node.pod("web")).status.phase == "Pending"
    del pod
    await node.client.delete(PODS, "default", "web")
    await eventually(gone(node, "web"))


async def test_image_that_cannot_be_pulled(node):
    pod = new_pod(fail_pull="no such image")
    pod.spec.containers[0].imagePullPolicy = "Always"
    await node.create(pod)

    async def reported():
        statuses = (await node.pod("web")).status.containerStatuses
        return statuses and statuses[0].state.waiting.reason in ("ErrImagePull", "ImagePullBackOff")

    await eventually(reported)
    assert "Failed" in node.events.reasons


async def test_liveness_failure_restarts(node):
    pod = new_pod(exec_exit_code="1")
    probe = pod.spec.containers[0].livenessProbe
    getattr(probe.handler, "exec").command.append("true")
    probe.periodSeconds = 1
    probe.failureThreshold = 1
    await node.create(pod)

    async def restarted():
        statuses = (await node.pod("web")).status.containerStatuses
        return statuses and statuses[0].restartCount >= 1

    await eventually(restarted, timeout_s=60)
    assert "Unhealthy" in node.events.reasons


async def test_readiness_gates_ready(node):
    pod = new_pod(exec_exit_code="1")
    probe = pod.spec.containers[0].readinessProbe
    getattr(probe.handler, "exec").command.append("true")
    probe.periodSeconds = 1
    await node.create(pod)
    await eventually(phase_is(node, "web", "Running"))
    conditions = {c.type: c for c in (await node.pod("web")).status.conditions}
    assert conditions["Ready"].reason == "ContainersNotReady"
    assert conditions["Ready"].message == "containers with unready status: [c0]"


async def test_sandbox_that_dies_is_made_anew(node):
    await node.create(new_pod())
    await eventually(phase_is(node, "web", "Running"))
    uid = (await node.pod("web")).metadata.uid
    sandbox = node.kubelet.pleg.get(uid).sandboxes[0]
    await node.shim.stop_pod_sandbox(cri.StopPodSandboxRequest(pod_sandbox_id=sandbox.id))
    await eventually(
        lambda: any(s.metadata.attempt == 1 for s in node.kubelet.pleg.get(uid).sandboxes)
    )
    assert "SandboxChanged" in node.events.reasons


async def test_a_restarted_kubelet_starts_nothing_twice():
    client = MemoryClient(SystemClock())
    async with running_shim() as shim:
        async with running_kubelet(shim, client) as first:
            await first.create(new_pod())
            await eventually(phase_is(first, "web", "Running"))
            before = await first.pod("web")
        async with running_kubelet(shim, client) as second:
            uid = before.metadata.uid
            await eventually(lambda: second.kubelet.pleg.get(uid).running)
            await second.create(new_pod("next"))
            await eventually(phase_is(second, "next", "Running"))
            assert second.runtime.calls.count("RunPodSandbox") == 1
            after = await second.pod("web")
            assert after.status == before.status


def steps_traced(stamps):
    """As a process that starts now would export them."""
    builder = SpanBuilder(Resource({}), itertools.count(1).__next__)
    spans = builder.build(stamps, time.time_ns())
    return sorted(span.attributes["podpath.step"] for span in spans)


async def test_a_pods_creation_is_traced_and_nothing_after_it(monkeypatch):
    told = []
    told_of = lambda record, context: told.append(Stamp(*record, context))  # noqa: E731
    monkeypatch.setattr(pod_trace.ring, "on_sampled", told_of)
    client = MemoryClient(SystemClock())
    async with running_shim() as shim:
        async with running_kubelet(shim, client) as first:
            pod = new_pod()
            pod.metadata.annotations[TRACEPARENT_ANNOTATION] = str(Traceparent(1, 2))
            await first.create(pod)
            await eventually(phase_is(first, "web", "Running"))
            assert steps_traced(told) == ["12", "13", "14", "15", "16"]
        told.clear()
        async with running_kubelet(shim, client) as second:
            uid = (await second.pod("web")).metadata.uid
            await eventually(lambda: second.kubelet.pleg.get(uid).running)
            (running,) = second.kubelet.pleg.get(uid).running
            await shim.stop_container(cri.StopContainerRequest(container_id=running.id))
            await eventually(
                lambda: any(c.metadata.attempt for c in second.kubelet.pleg.get(uid).running)
            )
            assert told
            assert steps_traced(told) == []


async def test_what_only_the_runtime_has_is_removed():
    async with running_shim() as shim:
        async with running_kubelet(shim, MemoryClient(SystemClock())) as first:
            await first.create(new_pod())
            await eventually(phase_is(first, "web", "Running"))
        # The API server has forgotten all Pods.
        async with running_kubelet(shim, MemoryClient(SystemClock())) as second:
            assert second.kubelet.pleg.uids()
            await eventually(lambda: not second.kubelet.pleg.uids(), timeout_s=60)


async def test_directories_come_and_go(tmp_path):
    async with (
        running_shim() as shim,
        running_kubelet(shim, MemoryClient(SystemClock()), root=str(tmp_path)) as node,
    ):
        pod = new_pod()
        pod.spec.volumes.add(name="scratch").volumeSource.emptyDir.SetInParent()
        pod.spec.containers[0].volumeMounts.add(name="scratch", mountPath="/scratch")
        await node.create(pod)
        await eventually(phase_is(node, "web", "Running"))
        uid = (await node.pod("web")).metadata.uid
        base = tmp_path / "pods" / uid
        assert (base / "volumes" / "kubernetes.io~empty-dir" / "scratch").is_dir()
        assert (base / "etc-hosts").read_text().startswith("# Kubernetes-managed hosts file.")
        await node.client.delete(PODS, "default", "web")
        await eventually(gone(node, "web"))
        await eventually(lambda: not base.exists())


async def test_a_status_that_others_changed_is_put_right(node):
    await node.create(new_pod())
    await eventually(phase_is(node, "web", "Running"))
    pod = await node.pod("web")
    for condition in pod.status.conditions:
        if condition.type == "Ready":
            condition.status = "False"
    pod.status.conditions.add(type="example.com/theirs", status="True")
    await node.client.update_status(PODS, pod)

    async def put_right():
        conditions = {c.type: c.status for c in (await node.pod("web")).status.conditions}
        return conditions["Ready"] == "True" and conditions["example.com/theirs"] == "True"

    await eventually(put_right)


async def test_runtime_classes_choose_the_engine():
    client = MemoryClient(SystemClock())
    sandboxed = RuntimeClass(handler="vm")
    sandboxed.metadata.name = "sandboxed"
    await client.create(RUNTIMECLASSES, sandboxed)
    async with running_shim(handlers=("vm",)) as shim, running_kubelet(shim, client) as node:
        for name, runtime_class in (("plain", ""), ("strict", "sandboxed")):
            pod = new_pod(name)
            pod.spec.runtimeClassName = runtime_class
            await node.create(pod)
            await eventually(phase_is(node, name, "Running"))
        records = shim.runtime.state.sandboxes.values()
        handlers = {r.config.metadata.name: r.handler for r in records}
        assert handlers == {"plain": "", "strict": "vm"}
        for handler in ("", "vm"):
            images = await shim.runtime.backend(handler).images()
            assert [list(image.repo_tags) for image in images] == [["docker.io/library/app:1"]]


async def test_a_runtime_class_that_is_not_there(node):
    pod = new_pod()
    pod.spec.runtimeClassName = "nowhere"
    await node.create(pod)

    async def told():
        return any("nowhere" in text for _, _, text in node.events.events)

    await eventually(told)
    assert "FailedCreatePodSandBox" in node.events.reasons
    assert "RunPodSandbox" not in node.runtime.calls
