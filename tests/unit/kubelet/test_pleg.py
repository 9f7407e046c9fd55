from kubelet.pleg import Pleg
from podpath.component_base.clock import FakeClock
from protos.cri import runtime_v1_pb2 as cri
from tests.support.kubelet_objects import record, sandbox


class Runtime:
    """Answers with what `held` says; `at` is its clock."""

    def __init__(self):
        self.held = {}
        self.at = 1
        self.before_answer = lambda: None

    async def ListPodSandbox(self, request):
        items = [
            cri.PodSandbox(id=s.id, metadata=s.metadata, state=s.state)
            for s, _ in self.held.values()
        ]
        return cri.ListPodSandboxResponse(items=items)

    async def ListContainers(self, request):
        containers = [
            cri.Container(id=c.id, pod_sandbox_id=s.id, state=c.state)
            for s, records in self.held.values()
            for c in records
        ]
        return cri.ListContainersResponse(containers=containers)

    async def PodSandboxStatus(self, request):
        status, records = self.held[request.pod_sandbox_id]
        answer = cri.PodSandboxStatusResponse(
            status=status, containers_statuses=records, timestamp=self.at
        )
        self.before_answer()
        return answer


def event(at, *records):
    return cri.ContainerEventResponse(
        container_id="a-0", created_at=at, pod_sandbox_status=sandbox(), containers_statuses=records
    )


def new():
    runtime, changed = Runtime(), []
    return runtime, Pleg(runtime, FakeClock(), changed.append), changed


async def test_relist_finds_what_is_there_and_what_is_gone():
    runtime, pleg, changed = new()
    runtime.held = {"s0": (sandbox(), [record("a", "running")])}
    await pleg.relist()
    assert [c.id for c in pleg.get("u1").running] == ["a-0"]
    assert changed == ["u1"]
    await pleg.relist()
    assert changed == ["u1"]
    runtime.held = {}
    await pleg.relist()
    assert pleg.uids() == []
    assert changed == ["u1", "u1"]


async def test_an_event_replaces_the_sandboxs_record():
    _, pleg, changed = new()
    pleg.apply(event(1, record("a", "created")))
    pleg.apply(event(2, record("a", "running")))
    assert len(pleg.get("u1").running) == 1
    assert changed == ["u1", "u1"]


async def test_an_answer_that_is_older_than_an_event_changes_nothing():
    runtime, pleg, _ = new()
    runtime.held = {"s0": (sandbox(), [record("a", "created")])}
    runtime.before_answer = lambda: pleg.apply(event(2, record("a", "running")))
    await pleg.inspect("u1")
    assert len(pleg.get("u1").running) == 1


async def test_an_event_that_is_older_than_an_answer_changes_nothing():
    runtime, pleg, _ = new()
    runtime.at = 5
    runtime.held = {"s0": (sandbox(), [record("a", "running")])}
    await pleg.inspect("u1")
    pleg.apply(event(4, record("a", "created")))
    assert len(pleg.get("u1").running) == 1


async def test_a_sandbox_that_came_during_the_listing_is_not_taken_for_gone():
    runtime, pleg, _ = new()
    listing = runtime.ListPodSandbox

    async def slow(request):
        answer = await listing(request)
        pleg.apply(event(2, record("a", "running")))
        return answer

    runtime.ListPodSandbox = slow
    await pleg.inspect("u1")
    assert len(pleg.get("u1").running) == 1


async def test_a_removed_sandbox_is_known_by_its_id_alone():
    _, pleg, _ = new()
    pleg.apply(event(1, record("a", "exited")))
    pleg.apply(cri.ContainerEventResponse(container_id="s0", created_at=2))
    assert pleg.uids() == []


async def test_unhealthy_without_a_relist():
    _, pleg, _ = new()
    assert "has yet to be successful" in pleg.problem()
    await pleg.relist()
    assert pleg.problem() == ""
    pleg._clock.step(181)
    assert "pleg was last seen active 181s ago; threshold is 180s" in pleg.problem()
