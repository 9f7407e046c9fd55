import pytest

from kubelet.pod_actions import ProbeOutcome, ProbeOutcomes, compute_pod_actions
from kubelet.runtime_config import container_hashes
from tests.support.kubelet_objects import pod_of, record, runtime, sandbox

FAILED = ProbeOutcome.FAILURE


def actions(pod, status, *, startup=None, liveness=None):
    outcomes = ProbeOutcomes(startup or {}, liveness or {})
    return compute_pod_actions(pod, status, outcomes, container_hashes(pod))


def test_new_pod_gets_a_sandbox_and_all_containers():
    found = actions(pod_of("a", "b"), runtime(sandboxes=[]))
    assert found.create_sandbox
    assert found.attempt == 0
    assert found.start == (0, 1)


def test_new_pod_with_init_containers_starts_only_the_first():
    found = actions(pod_of("a", init=("i", "j")), runtime(sandboxes=[]))
    assert found.create_sandbox
    assert (found.start_init, found.start) == ((0,), ())


def test_all_running_is_nothing_to_do():
    found = actions(pod_of("a", "b"), runtime(record("a", "running"), record("b", "running")))
    assert found.is_nothing


@pytest.mark.parametrize(
    ("restart", "code", "start", "kill_pod"),
    [
        pytest.param("Always", 0, (0,), False, id="Always restarts a success"),
        pytest.param("Always", 1, (0,), False, id="Always restarts a failure"),
        pytest.param("OnFailure", 0, (), True, id="OnFailure leaves a success"),
        pytest.param("OnFailure", 1, (0,), False, id="OnFailure restarts a failure"),
        pytest.param("Never", 1, (), True, id="Never leaves a failure"),
    ],
)
def test_restart_policy(restart, code, start, kill_pod):
    found = actions(pod_of("a", restart=restart), runtime(record("a", "exited", code=code)))
    assert (found.start, found.kill_pod) == (start, kill_pod)


@pytest.mark.parametrize(
    ("sandboxes", "host_network", "expected"),
    [
        pytest.param([sandbox(ready=False)], False, (True, 1), id="not ready"),
        pytest.param([sandbox(), sandbox(attempt=1)], False, (True, 2), id="two are ready"),
        pytest.param([sandbox(ip="")], False, (True, 1), id="no address"),
        pytest.param([sandbox()], True, (True, 1), id="network mode differs"),
        pytest.param([sandbox(ip="", host_network=True)], True, (False, 0), id="host network"),
        pytest.param([sandbox()], False, (False, 0), id="as it should be"),
    ],
)
def test_sandbox_changes(sandboxes, host_network, expected):
    pod = pod_of("a")
    pod.spec.hostNetwork = host_network
    found = actions(pod, runtime(record("a", "running"), sandboxes=sandboxes))
    assert (found.create_sandbox, found.attempt) == expected


def test_sandbox_of_a_pod_that_never_restarts_is_not_made_anew():
    pod = pod_of("a", restart="Never")
    found = actions(pod, runtime(record("a", "exited"), sandboxes=[sandbox(ready=False)]))
    assert not found.create_sandbox
    assert found.kill_pod


@pytest.mark.parametrize("state", ["created", "unknown"])
def test_what_is_neither_running_nor_ended_is_started(state):
    found = actions(pod_of("a"), runtime(record("a", state)))
    assert found.start == (0,)
    assert bool(found.kill) is (state == "unknown")


def test_changed_image_kills_and_starts():
    found = actions(pod_of("a", restart="Never"), runtime(record("a", "running", image="app:0")))
    assert found.start == (0,)
    assert found.kill[0].message == "Container a definition changed, will be restarted"


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        pytest.param("liveness", "Container a failed liveness probe, will be restarted", id="live"),
        pytest.param("startup", "Container a failed startup probe, will be restarted", id="start"),
    ],
)
def test_failed_probe_restarts(kind, message):
    found = actions(pod_of("a"), runtime(record("a", "running")), **{kind: {"a-0": FAILED}})
    assert found.start == (0,)
    assert found.kill[0].message == message


def test_failed_probe_with_never_only_kills():
    pod = pod_of("a", restart="Never")
    found = actions(pod, runtime(record("a", "running")), liveness={"a-0": FAILED})
    assert found.start == ()
    assert found.kill[0].message == "Container a failed liveness probe"


def test_deleted_pod_restarts_nothing():
    pod = pod_of("a")
    pod.metadata.deletionTimestamp.seconds = 1
    assert actions(pod, runtime(record("a", "exited"))).start == ()


@pytest.mark.parametrize(
    ("records", "start_init", "start"),
    [
        pytest.param([record("i", "running")], (), (), id="waits for the first"),
        pytest.param([record("i", "exited")], (1,), (), id="then the second"),
        pytest.param([record("i", "exited"), record("j", "exited")], (), (0,), id="then regular"),
        pytest.param([record("i", "exited", code=1)], (0,), (), id="a failed one again"),
        pytest.param([record("i", "created")], (0,), (), id="one that did not start again"),
        pytest.param([record("a", "running")], (), (), id="initialized though init is gone"),
    ],
)
def test_init_containers(records, start_init, start):
    found = actions(pod_of("a", init=("i", "j")), runtime(*records))
    assert (found.start_init, found.start) == (start_init, start)


def test_failed_init_container_ends_a_pod_that_never_restarts():
    pod = pod_of("a", init=("i",), restart="Never")
    found = actions(pod, runtime(record("i", "exited", code=1)))
    assert found.kill_pod
    assert found.start == ()


@pytest.mark.parametrize(
    ("records", "start_init", "start"),
    [
        pytest.param([record("s", "running")], (1,), (), id="next when the sidecar runs"),
        pytest.param(
            [record("s", "exited"), record("i", "running")], (0,), (), id="sidecar again meanwhile"
        ),
        pytest.param(
            [record("s", "exited"), record("i", "exited"), record("a", "running")],
            (0,),
            (),
            id="sidecar again beside regular ones",
        ),
        pytest.param([record("s", "running"), record("i", "exited")], (), (0,), id="initialized"),
    ],
)
def test_sidecars(records, start_init, start):
    found = actions(pod_of("a", init=("s+", "i")), runtime(*records))
    assert (found.start_init, found.start) == (start_init, start)


def test_sidecar_with_startup_probe_holds_the_next_back():
    pod = pod_of("a", init=("s+",))
    pod.spec.initContainers[0].startupProbe.periodSeconds = 1
    status = runtime(record("s", "running"))
    assert actions(pod, status).is_nothing
    assert actions(pod, status, startup={"s-0": ProbeOutcome.SUCCESS}).start == (0,)
    failed = actions(pod, status, startup={"s-0": FAILED})
    assert failed.start_init == (0,)
    assert failed.kill[0].message == "Init container s failed startup probe"


def test_sidecars_do_not_keep_an_ended_pod_alive():
    pod = pod_of("a", init=("s+",), restart="Never")
    found = actions(pod, runtime(record("s", "running"), record("a", "exited")))
    assert found.kill_pod
    assert found.start_init == ()


def test_ephemeral_containers_start_once():
    pod = pod_of("a")
    pod.spec.ephemeralContainers.add().ephemeralContainerCommon.name = "debug"
    assert actions(pod, runtime(record("a", "running"))).start_ephemeral == (0,)
    found = actions(pod, runtime(record("a", "running"), record("debug", "exited")))
    assert found.start_ephemeral == ()
