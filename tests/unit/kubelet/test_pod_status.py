from datetime import UTC, datetime

import pytest

from kubelet.container_statuses import ContainerFacts, StartFailure
from kubelet.pod_actions import ProbeOutcome
from kubelet.pod_status import StatusInput, Verdict, generate
from protos.k8s import core_v1_pb2 as core
from tests.support.kubelet_objects import pod_of, record, runtime, sandbox

NOW = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)


def status_of(pod, status, *, old=None, **more):
    given = StatusInput(
        pod=pod,
        runtime=status,
        old=old if old is not None else pod.status,
        now=NOW,
        host_ips=("10.1.1.1",),
        **more,
    )
    return generate(given)


def conditions(status):
    return {c.type: (c.status, c.reason, c.message) for c in status.conditions}


EXITED_0, EXITED_1 = record("a", "exited"), record("a", "exited", code=1)


@pytest.mark.parametrize(
    ("restart", "records", "terminal", "phase"),
    [
        pytest.param("Always", [], False, "Pending", id="nothing yet"),
        pytest.param("Always", [record("a", "running")], False, "Running", id="runs"),
        pytest.param("Always", [EXITED_0], False, "Running", id="will be restarted"),
        pytest.param("Always", [EXITED_0], True, "Succeeded", id="ended for good"),
        pytest.param("Always", [EXITED_1], True, "Failed", id="ended badly for good"),
        pytest.param("OnFailure", [EXITED_0], False, "Succeeded", id="done"),
        pytest.param("OnFailure", [EXITED_1], False, "Running", id="tries again"),
        pytest.param("Never", [EXITED_0], False, "Succeeded", id="never, done"),
        pytest.param("Never", [EXITED_1], False, "Failed", id="never, failed"),
        pytest.param("Always", [record("a", "created")], False, "Pending", id="created"),
    ],
)
def test_phase(restart, records, terminal, phase):
    pod = pod_of("a", restart=restart)
    assert status_of(pod, runtime(*records), terminal=terminal).phase == phase


@pytest.mark.parametrize(
    ("records", "restart", "phase"),
    [
        pytest.param([record("i", "running")], "Always", "Pending", id="init runs"),
        pytest.param([record("i", "exited", code=1)], "Never", "Failed", id="init failed, Never"),
        pytest.param([record("i", "exited", code=1)], "Always", "Pending", id="init failed"),
        pytest.param([record("i", "exited")], "Always", "Pending", id="init done, none started"),
        pytest.param(
            [record("i", "exited"), record("a", "running")], "Always", "Running", id="both"
        ),
        pytest.param([record("a", "running")], "Always", "Running", id="init record is gone"),
    ],
)
def test_phase_with_init_container(records, restart, phase):
    pod = pod_of("a", init=("i",), restart=restart)
    assert status_of(pod, runtime(*records)).phase == phase


def test_sidecar_that_has_not_started_keeps_it_pending():
    pod = pod_of("a", init=("s+",))
    assert status_of(pod, runtime()).phase == "Pending"
    both = runtime(record("s", "running"), record("a", "running"))
    assert status_of(pod, both).phase == "Running"


def test_what_has_ended_never_begins_again():
    old = core.PodStatus(phase="Failed", reason="Evicted", message="why")
    status = status_of(pod_of("a"), runtime(record("a", "running")), old=old)
    assert (status.phase, status.reason, status.message) == ("Failed", "Evicted", "why")


def test_verdict_rules():
    status = status_of(pod_of("a"), runtime(), verdict=Verdict("OutOfcpu", "too much"))
    assert (status.phase, status.reason, status.message) == ("Failed", "OutOfcpu", "too much")


def test_running_pod_has_all_conditions_true_in_order():
    status = status_of(pod_of("a"), runtime(record("a", "running")))
    assert [c.type for c in status.conditions] == [
        "PodReadyToStartContainers",
        "Initialized",
        "Ready",
        "ContainersReady",
        "PodScheduled",
    ]
    assert {c.status for c in status.conditions} == {"True"}
    assert (status.podIP, status.hostIP) == ("10.0.0.5", "10.1.1.1")
    assert status.containerStatuses[0].containerID == "podpath://a-0"
    assert status.startTime.seconds == int(NOW.timestamp())


def test_pending_pod_says_what_is_unready():
    found = conditions(status_of(pod_of("a", init=("i",)), runtime(sandboxes=[])))
    assert found["PodReadyToStartContainers"][0] == "False"
    assert found["Initialized"] == (
        "False",
        "ContainersNotInitialized",
        "containers with incomplete status: [i]",
    )
    assert found["Ready"] == (
        "False",
        "ContainersNotReady",
        "containers with unready status: [a]",
    )


@pytest.mark.parametrize(
    ("code", "reason"), [pytest.param(0, "PodCompleted"), pytest.param(1, "PodFailed")]
)
def test_ended_pod_is_not_ready(code, reason):
    pod = pod_of("a", restart="Never")
    found = conditions(status_of(pod, runtime(record("a", "exited", code=code))))
    assert found["Ready"][:2] == ("False", reason)
    assert found["ContainersReady"][:2] == ("False", reason)


def test_transition_time_moves_only_with_the_status():
    old = core.PodStatus()
    before = old.conditions.add(type="Initialized", status="True")
    before.lastTransitionTime.seconds = 7
    status = status_of(pod_of("a"), runtime(record("a", "running")), old=old)
    times = {c.type: c.lastTransitionTime.seconds for c in status.conditions}
    assert times["Initialized"] == 7
    assert times["Ready"] == int(NOW.timestamp())


def test_conditions_of_others_stay_first():
    pod = pod_of("a")
    pod.status.conditions.add(type="example.com/gate", status="False")
    pod.spec.readinessGates.add(conditionType="example.com/gate")
    status = status_of(pod, runtime(record("a", "running")))
    assert status.conditions[0].type == "example.com/gate"
    found = conditions(status)
    assert found["Ready"][1] == "ReadinessGatesNotReady"
    assert found["ContainersReady"][0] == "True"


@pytest.mark.parametrize(
    ("readiness", "ready"),
    [
        pytest.param({}, False, id="not probed yet"),
        pytest.param({"a-0": ProbeOutcome.FAILURE}, False, id="failed"),
        pytest.param({"a-0": ProbeOutcome.SUCCESS}, True, id="succeeded"),
    ],
)
def test_readiness(readiness, ready):
    pod = pod_of("a")
    pod.spec.containers[0].readinessProbe.periodSeconds = 1
    facts = ContainerFacts(readiness=readiness)
    status = status_of(pod, runtime(record("a", "running")), facts=facts)
    assert status.containerStatuses[0].ready is ready


def test_startup_probe_holds_started_and_ready():
    pod = pod_of("a")
    pod.spec.containers[0].startupProbe.periodSeconds = 1
    found = status_of(pod, runtime(record("a", "running"))).containerStatuses[0]
    assert (found.started, found.ready) == (False, False)
    facts = ContainerFacts(startup={"a-0": ProbeOutcome.SUCCESS})
    found = status_of(pod, runtime(record("a", "running")), facts=facts).containerStatuses[0]
    assert (found.started, found.ready) == (True, True)


def test_waiting_reasons():
    plain = status_of(pod_of("a"), runtime()).containerStatuses[0]
    assert plain.state.waiting.reason == "ContainerCreating"
    after_init = status_of(pod_of("a", init=("i",)), runtime()).containerStatuses[0]
    assert after_init.state.waiting.reason == "PodInitializing"


def test_crash_loop_shows_waiting_and_how_it_ended():
    facts = ContainerFacts(failures={"a": StartFailure("CrashLoopBackOff", "back-off")})
    status = status_of(pod_of("a"), runtime(record("a", "exited", code=3)), facts=facts)
    found = status.containerStatuses[0]
    assert found.state.waiting.reason == "CrashLoopBackOff"
    assert found.lastState.terminated.exitCode == 3
    assert status.phase == "Running"


def test_restarted_container_remembers_its_last_end():
    records = (record("a", "exited", code=3), record("a", "running", attempt=1))
    found = status_of(pod_of("a"), runtime(*records)).containerStatuses[0]
    assert found.restartCount == 1
    assert found.state.HasField("running")
    assert found.lastState.terminated.exitCode == 3
    assert found.lastState.terminated.reason == "Error"


def test_running_container_whose_record_is_gone_counts_as_killed():
    old = core.PodStatus()
    before = old.containerStatuses.add(name="a", restartCount=2)
    before.state.running.startedAt.seconds = 5
    found = status_of(pod_of("a"), runtime(), old=old).containerStatuses[0]
    assert found.restartCount == 3
    assert found.lastState.terminated.exitCode == 137
    assert found.lastState.terminated.reason == "ContainerStatusUnknown"


def test_addresses_stay_told_after_the_sandbox_is_gone():
    old = core.PodStatus(podIP="10.0.0.5", podIPs=[core.PodIP(ip="10.0.0.5")])
    status = status_of(pod_of("a"), runtime(sandboxes=[sandbox(ready=False)]), old=old)
    assert status.podIP == "10.0.0.5"


def test_host_network_pod_has_the_nodes_address():
    pod = pod_of("a")
    pod.spec.hostNetwork = True
    ready = runtime(record("a", "running"), sandboxes=[sandbox(ip="", host_network=True)])
    status = status_of(pod, ready)
    assert status.podIP == "10.1.1.1"
    assert conditions(status)["PodReadyToStartContainers"][0] == "True"
