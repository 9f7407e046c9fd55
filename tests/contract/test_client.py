"""What every Client does, whichever server is behind it."""

import asyncio

import pytest

from podpath.api.errors import ApiError
from podpath.api.scheme import CONFIGMAPS, DEPLOYMENTS, PODS
from podpath.client.interface import EventType, Selection
from podpath.client.memory import MemoryClient
from protos.k8s.apps_v1_pb2 import Deployment
from protos.k8s.core_v1_pb2 import Binding, ConfigMap, Pod
from protos.k8s.meta_v1_pb2 import DeleteOptions
from tests.support.verbs import local_grpc_client

DEADLINE_S = 10


@pytest.fixture(
    params=[
        pytest.param("memory"),
        pytest.param("grpc", marks=pytest.mark.integration),
    ]
)
async def client(request, tmp_path):
    if request.param == "memory":
        yield MemoryClient()
        return
    async with local_grpc_client(tmp_path / "pki") as grpc_client:
        yield grpc_client


def pod(name="", *, generate="", labels=None, node=""):
    obj = Pod()
    obj.metadata.namespace, obj.metadata.name = "default", name
    if generate:
        obj.metadata.generateName = generate
    obj.metadata.labels.update(labels or {})
    obj.spec.containers.add(name="c", image="busybox")
    obj.spec.nodeName = node
    obj.spec.terminationGracePeriodSeconds = 30
    return obj


def binding(name, node):
    obj = Binding()
    obj.metadata.namespace, obj.metadata.name = "default", name
    obj.target.name = node
    return obj


async def collect(client, count, resource=PODS, selection=None, **start):
    """The first `count` events of a watch, bookmarks left out, as (type, name, version)."""
    found = []
    async with asyncio.timeout(DEADLINE_S):
        async for events in client.watch(resource, selection or Selection(), **start):
            for event in events:
                if event.type is not EventType.BOOKMARK:
                    meta = event.object.metadata
                    found.append((event.type, meta.name, int(meta.resourceVersion)))
            if len(found) >= count:
                return found
    return found


async def test_create_returns_what_is_stored(client):
    made = await client.create(PODS, pod("a"))
    assert made.metadata.uid
    assert made.metadata.resourceVersion
    assert made.status.phase == "Pending"
    assert await client.get(PODS, "default", "a") == made


async def test_generate_name_adds_five_characters(client):
    made = await client.create(PODS, pod(generate="web-"))
    assert made.metadata.name.startswith("web-")
    assert len(made.metadata.name) == len("web-") + 5


async def test_create_twice_is_already_exists(client):
    await client.create(PODS, pod("a"))
    with pytest.raises(ApiError) as caught:
        await client.create(PODS, pod("a"))
    assert (caught.value.reason, caught.value.code) == ("AlreadyExists", 409)
    assert str(caught.value) == 'pods "a" already exists'


async def test_dry_run_stores_nothing(client):
    await client.create(PODS, pod("a"), dry_run=True)
    with pytest.raises(ApiError) as caught:
        await client.get(PODS, "default", "a")
    assert caught.value.reason == "NotFound"
    assert str(caught.value) == 'pods "a" not found'


async def test_create_many_answers_each(client):
    await client.create(PODS, pod("b"))
    first, second, third = await client.create_many(PODS, [pod("a"), pod("b"), pod("c")])
    assert first.metadata.name == "a"
    assert isinstance(second, ApiError)
    assert second.reason == "AlreadyExists"
    assert third.metadata.name == "c"


async def test_update_needs_the_stored_version(client):
    stale = await client.create(PODS, pod("a"))
    fresh = await client.get(PODS, "default", "a")
    fresh.metadata.labels["x"] = "1"
    updated = await client.update(PODS, fresh)
    assert int(updated.metadata.resourceVersion) > int(stale.metadata.resourceVersion)
    stale.metadata.labels["x"] = "2"
    with pytest.raises(ApiError) as caught:
        await client.update(PODS, stale)
    assert (caught.value.reason, caught.value.code) == ("Conflict", 409)
    assert (await client.get(PODS, "default", "a")).metadata.labels["x"] == "1"


async def test_update_without_change_keeps_the_version(client):
    made = await client.create(PODS, pod("a"))
    assert await client.update(PODS, made) == made


async def test_spec_and_status_change_apart(client):
    obj = Deployment()
    obj.metadata.namespace, obj.metadata.name = "default", "d"
    obj.spec.selector.matchLabels["app"] = "x"
    obj.spec.template.metadata.labels["app"] = "x"
    obj.spec.template.spec.containers.add(name="c", image="busybox")
    obj.spec.replicas = 3
    made = await client.create(DEPLOYMENTS, obj)

    made.spec.replicas, made.status.replicas = 5, 4
    updated = await client.update_status(DEPLOYMENTS, made)
    assert (updated.spec.replicas, updated.status.replicas) == (3, 4)

    updated.spec.replicas, updated.status.replicas = 5, 1
    updated = await client.update(DEPLOYMENTS, updated)
    assert (updated.spec.replicas, updated.status.replicas) == (5, 4)


async def test_update_status_many_answers_each(client):
    first = await client.create(PODS, pod("a"))
    first.status.phase = "Running"
    done, missing = await client.update_status_many(PODS, [first, pod("gone")])
    assert done.status.phase == "Running"
    assert missing.reason == "NotFound"


async def test_bind_assigns_once(client):
    await client.create(PODS, pod("a"))
    await client.bind(binding("a", "node-1"))
    bound = await client.get(PODS, "default", "a")
    assert bound.spec.nodeName == "node-1"
    assert [(c.type, c.status) for c in bound.status.conditions] == [("PodScheduled", "True")]
    with pytest.raises(ApiError) as caught:
        await client.bind(binding("a", "node-2"))
    assert caught.value.reason == "Conflict"
    assert 'pod a is already assigned to node "node-1"' in str(caught.value)


async def test_bind_many_answers_each(client):
    await client.create(PODS, pod("a"))
    done, missing = await client.bind_many([binding("a", "n"), binding("gone", "n")])
    assert done is None
    assert missing.reason == "NotFound"


async def test_concurrent_writes_all_land(client):
    made = await asyncio.gather(*(client.create(PODS, pod(f"p{i}")) for i in range(40)))
    assert len({p.metadata.resourceVersion for p in made}) == 40
    await asyncio.gather(*(client.bind(binding(f"p{i}", f"n{i}")) for i in range(40)))
    nodes = {p.metadata.name: p.spec.nodeName for p in (await client.list(PODS)).items}
    assert nodes == {f"p{i}": f"n{i}" for i in range(40)}


async def test_pods_on_a_node_end_gracefully(client):
    made = await client.create(PODS, pod("a", node="n"))
    await client.delete(PODS, "default", "a")
    ending = await client.get(PODS, "default", "a")
    assert ending.metadata.HasField("deletionTimestamp")
    assert ending.metadata.deletionGracePeriodSeconds == 30
    other = DeleteOptions(gracePeriodSeconds=0)
    other.preconditions.uid = "another"
    with pytest.raises(ApiError) as caught:
        await client.delete(PODS, "default", "a", other)
    assert caught.value.reason == "Conflict"
    last = DeleteOptions(gracePeriodSeconds=0)
    last.preconditions.uid = made.metadata.uid
    await client.delete(PODS, "default", "a", last)
    with pytest.raises(ApiError) as caught:
        await client.get(PODS, "default", "a")
    assert caught.value.reason == "NotFound"


async def test_unscheduled_pods_go_at_once(client):
    await client.create(PODS, pod("a"))
    await client.delete(PODS, "default", "a")
    assert (await client.list(PODS)).items == []


async def test_finalizers_hold_a_deletion_back(client):
    obj = ConfigMap()
    obj.metadata.namespace, obj.metadata.name = "default", "c"
    obj.metadata.finalizers.append("example.com/wait")
    await client.create(CONFIGMAPS, obj)
    await client.delete(CONFIGMAPS, "default", "c")
    ending = await client.get(CONFIGMAPS, "default", "c")
    assert ending.metadata.HasField("deletionTimestamp")
    del ending.metadata.finalizers[:]
    await client.update(CONFIGMAPS, ending)
    assert (await client.list(CONFIGMAPS, Selection(namespace="default"))).items == []


async def test_patch_changes_what_it_names(client):
    await client.create(PODS, pod("a", labels={"keep": "1"}))
    patch = b'{"metadata": {"labels": {"x": "2"}}}'
    patched = await client.patch(PODS, "default", "a", patch)
    assert dict(patched.metadata.labels) == {"keep": "1", "x": "2"}


@pytest.mark.parametrize(
    ("selection", "names"),
    [
        pytest.param(Selection(), ["a", "b", "c"], id="everything"),
        pytest.param(Selection(namespace="other"), [], id="namespace"),
        pytest.param(Selection(label_selector="tier=web"), ["a", "c"], id="label"),
        pytest.param(Selection(label_selector="tier!=web"), ["b"], id="not label"),
        pytest.param(Selection(field_selector="metadata.name=b"), ["b"], id="name"),
        pytest.param(Selection(field_selector="spec.nodeName=n1"), ["c"], id="node"),
        pytest.param(
            Selection(label_selector="tier=web", field_selector="spec.nodeName="), ["a"], id="both"
        ),
    ],
)
async def test_list_selects(client, selection, names):
    await client.create(PODS, pod("a", labels={"tier": "web"}))
    await client.create(PODS, pod("b"))
    await client.create(PODS, pod("c", labels={"tier": "web"}, node="n1"))
    assert [p.metadata.name for p in (await client.list(PODS, selection)).items] == names


async def test_list_pages_join_to_the_whole(client):
    for i in range(7):
        await client.create(PODS, pod(f"p{i}"))
    names, token = [], ""
    while True:
        page = await client.list(PODS, limit=3, continue_token=token)
        assert len(page.items) <= 3
        names += [p.metadata.name for p in page.items]
        token = page.continue_token
        if not token:
            break
    assert names == [f"p{i}" for i in range(7)]


async def test_unknown_field_selectors_are_refused(client):
    with pytest.raises(ApiError) as caught:
        await client.list(PODS, Selection(field_selector="spec.color=red"))
    assert (caught.value.reason, caught.value.code) == ("BadRequest", 400)


async def test_watch_tells_each_change_after_a_version(client):
    first = await client.create(PODS, pod("a"))
    watching = asyncio.ensure_future(
        collect(client, 4, resource_version=first.metadata.resourceVersion)
    )
    second = await client.create(PODS, pod("b"))
    await client.bind(binding("b", "n"))
    await client.delete(PODS, "default", "a")
    await client.create(PODS, pod("c"))
    events = await watching
    assert [(kind, name) for kind, name, _ in events] == [
        (EventType.ADDED, "b"),
        (EventType.MODIFIED, "b"),
        (EventType.DELETED, "a"),
        (EventType.ADDED, "c"),
    ]
    versions = [version for _, _, version in events]
    assert versions[0] == int(second.metadata.resourceVersion)
    assert versions == sorted(set(versions))


async def test_watch_selects_by_what_objects_become(client):
    await client.create(PODS, pod("a"))
    start = (await client.list(PODS)).resource_version
    await client.bind(binding("a", "n1"))
    bound = await client.get(PODS, "default", "a")
    bound.status.phase = "Running"
    await client.update_status(PODS, bound)
    await client.delete(PODS, "default", "a", DeleteOptions(gracePeriodSeconds=0))
    selection = Selection(field_selector="spec.nodeName=n1")
    events = await collect(client, 3, selection=selection, resource_version=start)
    assert [kind for kind, _, _ in events] == [
        EventType.ADDED,
        EventType.MODIFIED,
        EventType.DELETED,
    ]


async def test_watch_resumes_anywhere(client):
    start = (await client.list(PODS)).resource_version
    for i in range(6):
        await client.create(PODS, pod(f"p{i}"))
    whole = await collect(client, 6, resource_version=start)
    for cut in range(1, 6):
        rest = await collect(client, 6 - cut, resource_version=str(whole[cut - 1][2]))
        assert rest == whole[cut:]


async def test_initial_events_end_with_an_annotated_bookmark(client):
    await client.create(PODS, pod("a"))
    seen = []
    async with asyncio.timeout(DEADLINE_S):
        async for events in client.watch(PODS, send_initial_events=True):
            seen += events
            if seen[-1].type is EventType.BOOKMARK:
                break
    assert [e.type for e in seen] == [EventType.ADDED, EventType.BOOKMARK]
    assert seen[-1].object.metadata.annotations["k8s.io/initial-events-end"] == "true"
    assert int(seen[-1].object.metadata.resourceVersion) >= int(
        seen[0].object.metadata.resourceVersion
    )


async def test_read_modify_write_loses_nothing(client):
    obj = ConfigMap()
    obj.metadata.namespace, obj.metadata.name = "default", "counter"
    obj.data["n"] = "0"
    await client.create(CONFIGMAPS, obj)
    conflicts = 0

    async def increment():
        nonlocal conflicts
        while True:
            seen = await client.get(CONFIGMAPS, "default", "counter")
            seen.data["n"] = str(int(seen.data["n"]) + 1)
            await asyncio.sleep(0)
            try:
                await client.update(CONFIGMAPS, seen)
                return
            except ApiError as error:
                if error.reason != "Conflict":
                    raise
                conflicts += 1

    await asyncio.gather(*(increment() for _ in range(20)))
    assert (await client.get(CONFIGMAPS, "default", "counter")).data["n"] == "20"
    assert conflicts > 0
