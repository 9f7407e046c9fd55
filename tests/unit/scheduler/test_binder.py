"""The binding cycle: what is told of each Pod when calls fail, are lost, or plugins refuse."""

import asyncio

import pytest

from podpath.api import errors, scheme
from podpath.client.memory import MemoryClient
from protos.k8s.core_v1_pb2 import Binding, ObjectReference
from protos.k8s.meta_v1_pb2 import DeleteOptions, ObjectMeta
from scheduler.binder import READ_BACK_FOR_S, AssumedPod, Binder, Failure
from scheduler.framework.cycle_state import CycleState
from scheduler.framework.runtime import Framework
from scheduler.framework.status import SUCCESS, Code, Status, unschedulable
from scheduler.framework.waiting_pods import WaitingPods
from scheduler.plugins.default_binder import DefaultBinder
from scheduler.plugins.priority_sort import PrioritySort
from scheduler.pod_info import PodInfo
from scheduler.queue import QueuedPod
from tests.support import virtual_time
from tests.support.scheduling import pod


class Answerless(MemoryClient):
    """Carries bindings out (or not) and loses the answer, as often as it is told."""

    def __init__(self, clock, *, lost, carried_out):
        super().__init__(clock)
        self.lost = lost
        self.carried_out = carried_out

    async def bind(self, binding):
        if self.carried_out or not self.lost:
            await super().bind(binding)
        if self.lost:
            self.lost -= 1
            raise errors.service_unavailable("the connection was lost")


class Bench:
    """A binder, a server, and what was told."""

    def __init__(self, client, *plugins, waiting=None):
        self.client = client
        self.clock = virtual_time.VirtualClock()
        self.framework = Framework([PrioritySort(), *plugins, DefaultBinder()], {}, waiting=waiting)
        self.told = {}
        self.binder = Binder(client, self.clock, self._tell)

    def _tell(self, assumed, failure):
        assert assumed.info.key[1] not in self.told, "told twice"
        self.told[assumed.info.key[1]] = failure

    async def assumed(self, name, node_name="n"):
        created = await self.client.create(scheme.PODS, pod(name))
        info = PodInfo(created)
        return AssumedPod(QueuedPod(info, 0.0), node_name, CycleState(), self.framework, info)

    async def outcomes(self, *names):
        for name in names:
            self.binder.submit(await self.assumed(name))
        return await self.wait(len(names))

    async def wait(self, count):
        running = asyncio.ensure_future(self.binder.run())
        while len(self.told) < count:
            await self.clock.sleep(0.01)
        running.cancel()
        return self.told


@pytest.mark.parametrize("names", [("a",), ("a", "b", "c")], ids=["alone", "together"])
def test_a_lost_answer_is_read_back_as_bound(names):
    async def run():
        bench = Bench(Answerless(None, lost=len(names), carried_out=True))
        assert await bench.outcomes(*names) == dict.fromkeys(names)

    virtual_time.run(run())


def test_a_lost_request_is_told_as_failed():
    async def run():
        bench = Bench(Answerless(None, lost=1, carried_out=False))
        told = await bench.outcomes("a")
        assert not told["a"].is_moot
        assert told["a"].status.message == (
            'running Bind plugin "DefaultBinder": the connection was lost'
        )

    virtual_time.run(run())


def test_nothing_is_sent_while_the_server_is_gone_and_nobody_loses_the_promise():
    async def run():
        client = Answerless(None, lost=1, carried_out=True)
        bench = Bench(client)
        client.inject_error("get", errors.service_unavailable("down"), times=10)
        assert await bench.outcomes("a", "b") == {"a": None, "b": None}
        assert bench.clock.monotonic() > 5

    virtual_time.run(run())


def test_a_server_that_can_bind_but_not_read_stops_nobody_for_ever():
    async def run():
        client = Answerless(None, lost=1, carried_out=False)
        bench = Bench(client)
        client.inject_error("get", errors.internal_error("cannot decode"), times=1000)
        told = await bench.outcomes("a")
        assert told["a"].status.code is Code.ERROR
        assert READ_BACK_FOR_S <= bench.clock.monotonic() < READ_BACK_FOR_S + 5

    virtual_time.run(run())


@pytest.mark.parametrize("what", ["deleted", "replaced", "bound by another"])
def test_what_others_did_meanwhile_makes_it_moot(what):
    async def run():
        client = Answerless(None, lost=1, carried_out=False)
        bench = Bench(client)
        bench.binder.submit(await bench.assumed("a"))
        if what == "bound by another":
            meta = ObjectMeta(namespace="default", name="a")
            theirs = Binding(metadata=meta, target=ObjectReference(name="elsewhere"))
            await MemoryClient.bind(client, theirs)
        else:
            await client.delete(scheme.PODS, "default", "a", DeleteOptions(gracePeriodSeconds=0))
        if what == "replaced":
            await client.create(scheme.PODS, pod("a"))
        told = await bench.wait(1)
        assert told["a"].is_moot

    virtual_time.run(run())


class Hold:
    name = "Hold"

    def permit(self, _state, _pod, _node_name):
        return Status(Code.WAIT), 20.0


def held(bench, assumed):
    assert bench.framework.binding.permit(assumed.state, assumed.info, "n").code is Code.WAIT
    bench.binder.submit(assumed)


@pytest.mark.parametrize(
    ("say", "expected"),
    [
        pytest.param(lambda w, uid: w.allow(uid, "Hold"), None, id="allowed"),
        pytest.param(
            lambda w, uid: w.reject(uid, "Hold", "no quorum"),
            Failure(unschedulable("Hold", "no quorum")),
            id="rejected",
        ),
        pytest.param(
            lambda _w, _uid: None,
            Failure(
                unschedulable("Hold", "rejected due to timeout after waiting 20s at plugin Hold")
            ),
            id="nobody says anything",
        ),
    ],
)
def test_a_permit_plugin_holds_a_binding_back(say, expected):
    async def run():
        waiting = WaitingPods()
        bench = Bench(MemoryClient(), Hold(), waiting=waiting)
        assumed = await bench.assumed("a")
        held(bench, assumed)
        assert [info.uid for info in waiting.list()] == [assumed.info.uid]
        say(waiting, assumed.info.uid)
        assert (await bench.wait(1))["a"] == expected
        assert waiting.list() == []
        bound = (await bench.client.get(scheme.PODS, "default", "a")).spec.nodeName
        assert bound == ("n" if expected is None else "")

    virtual_time.run(run())


class Fails:
    def __init__(self, point):
        self.name = "Fails"
        setattr(self, point, self._fail)

    async def _fail(self, _state, _pod, _node_name):
        return Status(Code.ERROR, ("no luck",))


class Faulty(Fails):
    async def _fail(self, _state, _pod, _node_name):
        raise KeyError("a bug")


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ("pre_bind", 'running PreBind plugin "Fails": no luck'),
        ("bind", 'running Bind plugin "Fails": no luck'),
    ],
)
def test_a_failing_plugin_is_named(point, message):
    async def run():
        bench = Bench(MemoryClient(), Fails(point))
        assert (await bench.outcomes("a"))["a"].status.message == message

    virtual_time.run(run())


def test_a_bind_plugin_that_binds_leaves_nothing_to_do():
    class Binds:
        name = "Binds"

        async def bind(self, _state, _pod, _node_name):
            return SUCCESS

    async def run():
        bench = Bench(MemoryClient(), Binds())
        assert await bench.outcomes("a") == {"a": None}
        assert not [call for call in bench.client.calls if call[0] == "bind"]

    virtual_time.run(run())


@pytest.mark.parametrize("point", ["pre_bind", "bind"])
def test_a_plugins_fault_costs_one_pod_its_try(point):
    async def run():
        bench = Bench(MemoryClient(), Faulty(point))
        told = await bench.outcomes("a", "b")
        assert {name: f.status.message for name, f in told.items()} == dict.fromkeys(
            ("a", "b"), "KeyError('a bug')"
        )

    virtual_time.run(run())


def test_a_fault_after_the_binding_changes_nothing():
    class Late:
        name = "Late"

        def post_bind(self, _state, _pod, _node_name):
            raise KeyError("a bug")

    stages = Framework([PrioritySort(), Late(), DefaultBinder()], {}).binding
    stages.post_bind(CycleState(), PodInfo(pod()), "n")
