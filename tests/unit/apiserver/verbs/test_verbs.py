"""The verbs over storage in memory: order, retries, dry runs, patches, subresources, views."""

import asyncio

import pytest

from apiserver.authentication.users import LOOPBACK
from apiserver.verbs.context import Context
from apiserver.verbs.interface import (
    BatchItem,
    ListOptions,
    Selectors,
    Target,
    WatchOptions,
    WriteOptions,
)
from podpath.api import errors, scheme
from podpath.api.errors import ApiError
from podpath.component_base import pod_trace
from protos.k8s import events_v1_pb2
from protos.k8s.apps_v1_pb2 import Deployment
from protos.k8s.autoscaling_v1_pb2 import Scale
from protos.k8s.core_v1_pb2 import Binding, ConfigMap, Event, Namespace, Pod, Secret
from protos.k8s.meta_v1_pb2 import DeleteOptions
from protos.k8s.policy_v1_pb2 import Eviction
from tests.support.verbs import local_apiserver

PODS = Target(scheme.PODS, "default")
CONFIG_MAPS = Target(scheme.CONFIGMAPS, "default")
STRATEGIC = "application/strategic-merge-patch+json"
MERGE = "application/merge-patch+json"
JSON = "application/json-patch+json"


def pod(name="", generate="", **labels):
    obj = Pod()
    obj.metadata.name, obj.metadata.generateName = name, generate
    obj.metadata.labels.update(labels)
    obj.spec.containers.add(name="c", image="busybox")
    return obj


def config_map(name, **data):
    obj = ConfigMap()
    obj.metadata.name = name
    obj.data.update(data)
    return obj


def named(target, name, subresource=""):
    return Target(target.resource, target.namespace, name, subresource)


@pytest.fixture
async def local():
    async with local_apiserver() as made:
        yield made


@pytest.fixture
async def chain(local):
    return local.chain


class Recorder:
    """A plugin of both kinds that notes when it is asked, and may change or refuse."""

    name = "Recorder"

    def __init__(self, refuse_in=""):
        self.seen = []
        self._refuse_in = refuse_in

    def handles(self, attributes):
        return attributes.target.resource is scheme.PODS

    async def admit(self, attributes):
        self.seen.append((attributes.operation, "mutate", attributes.target.name))
        if attributes.object is not None:
            attributes.object.metadata.labels["mutated"] = "yes"
            attributes.object.spec.containers.add(name="added", image="sidecar")
        self._refuse("mutate")

    async def validate(self, attributes):
        self.seen.append((attributes.operation, "validate", attributes.target.name))
        self._refuse("validate")

    def _refuse(self, phase):
        if phase == self._refuse_in:
            raise errors.forbidden("", "pods", "", "no")


async def test_admission_mutates_before_defaults_and_validates_what_is_stored():
    plugin = Recorder()
    async with local_apiserver(plugin) as local:
        made = (await local.chain.create(LOOPBACK, PODS, pod(generate="web-"))).object
    assert made.metadata.labels["mutated"] == "yes"
    # What a plugin added was given its defaults too.
    assert [c.terminationMessagePolicy for c in made.spec.containers] == ["File", "File"]
    # The name is generated between the two phases.
    assert plugin.seen == [
        ("CREATE", "mutate", ""),
        ("CREATE", "validate", made.metadata.name),
    ]


@pytest.mark.parametrize("phase", ["mutate", "validate"])
async def test_a_rejection_stores_nothing(phase):
    async with local_apiserver(Recorder(refuse_in=phase)) as local:
        before = await local.storage.current_version()
        with pytest.raises(ApiError) as caught:
            await local.chain.create(LOOPBACK, PODS, pod("a"))
        assert caught.value.reason == "Forbidden"
        assert await local.storage.current_version() == before


async def test_each_step_is_stamped_once_in_order(chain):
    made = (await chain.create(LOOPBACK, PODS, pod("a"))).object
    steps = [stamp.step.name for stamp in pod_trace.ring.of(made.metadata.uid)]
    assert steps == [
        "REQUEST_RECEIVED",
        "AUTHORIZED",
        "ADMITTED",
        "VALIDATED",
        "STORE",
        "STORED",
        "RESPONDED",
    ]


async def test_what_only_the_server_says_is_the_servers(chain):
    wanted = pod("a")
    wanted.metadata.uid = "mine"
    wanted.metadata.creationTimestamp.seconds = 1
    wanted.metadata.deletionTimestamp.seconds = 1
    made = (await chain.create(LOOPBACK, PODS, wanted)).object
    assert made.metadata.uid != "mine"
    assert made.metadata.creationTimestamp.seconds > 1
    assert not made.metadata.HasField("deletionTimestamp")


@pytest.mark.parametrize(
    ("change", "code", "text"),
    [
        pytest.param(
            lambda p: setattr(p.metadata, "namespace", "other"),
            400,
            "the namespace of the provided object does not match the namespace sent on the request",
            id="another namespace",
        ),
        pytest.param(
            lambda p: setattr(p.metadata, "resourceVersion", "7"),
            500,
            "resourceVersion should not be set on objects to be created",
            id="a resourceVersion",
        ),
    ],
)
async def test_create_refuses(chain, change, code, text):
    wanted = pod("a")
    change(wanted)
    with pytest.raises(ApiError) as caught:
        await chain.create(LOOPBACK, PODS, wanted)
    assert (caught.value.code, str(caught.value)) == (code, text)


async def test_generated_names_that_are_taken_are_generated_again(chain, monkeypatch):
    await chain.create(LOOPBACK, PODS, pod("web-taken"))
    names = iter(["web-taken", "web-taken", "web-free"])
    monkeypatch.setattr(Context, "generated_name", lambda self, base: next(names))
    made = (await chain.create(LOOPBACK, PODS, pod(generate="web-"))).object
    assert made.metadata.name == "web-free"


async def test_generated_names_run_out(chain, monkeypatch):
    await chain.create(LOOPBACK, PODS, pod("web-taken"))
    monkeypatch.setattr(Context, "generated_name", lambda self, base: "web-taken")
    with pytest.raises(ApiError) as caught:
        await chain.create(LOOPBACK, PODS, pod(generate="web-"))
    assert caught.value.reason == "AlreadyExists"
    assert "was not able to generate a unique name" in str(caught.value)


def test_long_bases_of_generated_names_are_cut():
    generated = Context.generated_name(
        Context(*[None] * 7),
        "x" * 80,  # the parts play no role here
    )
    assert len(generated) == 63


async def test_forbidden_before_anything_else(local):
    local.rules.refuse.add("create")
    with pytest.raises(ApiError) as caught:
        await local.chain.create(LOOPBACK, PODS, pod("a"))
    assert str(caught.value) == (
        'pods is forbidden: User "system:apiserver" cannot create resource "pods" '
        'in API group "" in the namespace "default"'
    )


async def test_a_batch_answers_each_and_forbids_each(local):
    local.rules.refuse.add("create")
    items = [BatchItem(PODS, pod("a")), BatchItem(PODS, pod("b"))]
    results = await local.chain.create_batch(LOOPBACK, items)
    assert [r.reason for r in results] == ["Forbidden", "Forbidden"]
    local.rules.refuse.clear()
    results = await local.chain.create_batch(LOOPBACK, [*items, BatchItem(PODS, pod("a"))])
    assert [getattr(r, "reason", "stored") for r in results] == [
        "stored",
        "stored",
        "AlreadyExists",
    ]


async def test_batches_have_a_limit(chain):
    with pytest.raises(ApiError) as caught:
        await chain.create_batch(LOOPBACK, [BatchItem(PODS, pod("a"))] * 1001)
    assert caught.value.code == 413


@pytest.mark.parametrize(
    ("patch_type", "document"),
    [
        pytest.param(STRATEGIC, {"metadata": {"labels": {"x": "2"}}}, id="strategic"),
        pytest.param(MERGE, {"metadata": {"labels": {"x": "2"}}}, id="merge"),
        pytest.param(JSON, [{"op": "add", "path": "/metadata/labels/x", "value": "2"}], id="json"),
    ],
)
async def test_patches(chain, patch_type, document):
    await chain.create(LOOPBACK, PODS, pod("a", keep="1"))
    made = await chain.patch(LOOPBACK, named(PODS, "a"), patch_type, document)
    assert dict(made.object.metadata.labels) == {"keep": "1", "x": "2"}


async def test_a_patch_of_the_status_keeps_the_spec(chain):
    await chain.create(LOOPBACK, PODS, pod("a"))
    document = {"status": {"phase": "Running"}, "spec": {"nodeName": "n"}}
    made = await chain.patch(LOOPBACK, named(PODS, "a", "status"), STRATEGIC, document)
    assert (made.object.status.phase, made.object.spec.nodeName) == ("Running", "")


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        pytest.param({"metadata": {"resourceVersion": "1"}}, "Conflict", id="stale version"),
        pytest.param({"metadata": {"uid": "other"}}, "Conflict", id="another uid"),
        pytest.param({"metadata": {"name": "b"}}, "BadRequest", id="another name"),
        pytest.param({"metadata": {"namespace": "b"}}, "BadRequest", id="another namespace"),
        pytest.param({"kind": "Node"}, "BadRequest", id="another kind"),
        pytest.param({"spec": {"containers": 3}}, "Invalid", id="wrong type"),
    ],
)
async def test_patches_that_are_refused(chain, document, reason):
    await chain.create(LOOPBACK, PODS, pod("a"))
    with pytest.raises(ApiError) as caught:
        await chain.patch(LOOPBACK, named(PODS, "a"), MERGE, document)
    assert caught.value.reason == reason


async def test_patches_that_change_nothing_store_nothing(local):
    """Although the object was made by a client whose encoder leaves empty fields out."""
    made = (await local.chain.create(LOOPBACK, PODS, pod("a", x="1"))).object
    patched = await local.chain.patch(
        LOOPBACK, named(PODS, "a"), STRATEGIC, {"metadata": {"labels": {"x": "1"}}}
    )
    assert patched.object.metadata.resourceVersion == made.metadata.resourceVersion


async def test_a_new_label_is_no_new_generation(chain):
    await chain.create(LOOPBACK, PODS, pod("a"))
    patched = await chain.patch(
        LOOPBACK, named(PODS, "a"), STRATEGIC, {"metadata": {"labels": {"x": "1"}}}
    )
    assert patched.object.metadata.generation == 1


async def test_concurrent_patches_all_apply(chain):
    await chain.create(LOOPBACK, CONFIG_MAPS, config_map("c"))
    target = named(CONFIG_MAPS, "c")
    await asyncio.gather(
        *(chain.patch(LOOPBACK, target, MERGE, {"data": {f"k{i}": "v"}}) for i in range(20))
    )
    assert len((await chain.get(LOOPBACK, target)).object.data) == 20


async def test_updates_from_a_stale_cache_start_again_from_storage(local):
    """Another API server wrote: our cache does not know it yet, storage does."""
    made = (await local.chain.create(LOOPBACK, CONFIG_MAPS, config_map("c", a="1"))).object
    await local.caches.cache(scheme.CONFIGMAPS).wait_newest()
    store = local.chain._context.registry.entry(scheme.CONFIGMAPS).store
    key = scheme.CONFIGMAPS.storage_key("default", "c")
    changed = ConfigMap()
    changed.CopyFrom(made)
    changed.data["b"] = "2"
    await local.storage.update(key, store._value(changed), int(made.metadata.resourceVersion))
    target = named(CONFIG_MAPS, "c")
    patched = await local.chain.patch(LOOPBACK, target, MERGE, {"data": {"c": "3"}})
    assert dict(patched.object.data) == {"a": "1", "b": "2", "c": "3"}


async def test_dry_runs_change_nothing(local):
    made = await local.chain.create(LOOPBACK, CONFIG_MAPS, config_map("c", a="1"))
    before = await local.storage.current_version()
    dry, target = WriteOptions(dry_run=True), named(CONFIG_MAPS, "c")
    patched = await local.chain.patch(LOOPBACK, target, MERGE, {"data": {"a": "2"}}, dry)
    assert patched.object.data["a"] == "2"
    await local.chain.delete(LOOPBACK, target, DeleteOptions(), dry_run=True)
    await local.chain.create(LOOPBACK, CONFIG_MAPS, config_map("d"), dry)
    with pytest.raises(ApiError):
        await local.chain.create(LOOPBACK, CONFIG_MAPS, config_map("c"), dry)
    assert (await local.chain.get(LOOPBACK, target)).object == made.object
    assert await local.storage.current_version() == before


async def test_scale_is_a_view_of_replicas(chain):
    deployment = Deployment()
    deployment.metadata.name = "d"
    deployment.spec.replicas = 1
    deployment.spec.selector.matchLabels["a"] = "b"
    deployment.spec.template.metadata.labels["a"] = "b"
    deployment.spec.template.spec.containers.add(name="c", image="busybox")
    target = Target(scheme.DEPLOYMENTS, "default", "d", "scale")
    await chain.create(LOOPBACK, Target(scheme.DEPLOYMENTS, "default"), deployment)
    shown = (await chain.get(LOOPBACK, target)).object
    assert isinstance(shown, Scale)
    wanted = Scale()
    wanted.CopyFrom(shown)
    wanted.spec.replicas = 3
    assert (await chain.update(LOOPBACK, target, wanted)).object.spec.replicas == 3
    with pytest.raises(ApiError) as caught:
        await chain.update(LOOPBACK, target, wanted)
    assert caught.value.reason == "Conflict"
    patched = await chain.patch(LOOPBACK, target, MERGE, {"spec": {"replicas": 5}})
    assert patched.object.spec.replicas == 5
    stored = (await chain.get(LOOPBACK, named(target, "d"))).object
    assert (stored.spec.replicas, stored.metadata.generation) == (5, 3)


async def test_labels_of_a_deployment_do_not_change_with_its_status(chain):
    target = Target(scheme.DEPLOYMENTS, "default", "d")
    made = Deployment()
    made.metadata.name = "d"
    made.metadata.labels["set"] = "first"
    made.spec.selector.matchLabels["app"] = "d"
    made.spec.template.metadata.labels["app"] = "d"
    made.spec.template.spec.containers.add(name="c", image="busybox")
    await chain.create(LOOPBACK, Target(scheme.DEPLOYMENTS, "default"), made)
    patch = {
        "metadata": {"labels": {"set": "second"}, "annotations": {"a": "b"}},
        "status": {"readyReplicas": 1, "replicas": 1},
    }
    await chain.patch(LOOPBACK, named(target, "d", "status"), MERGE, patch)
    stored = (await chain.get(LOOPBACK, target)).object
    assert (stored.metadata.labels["set"], stored.metadata.annotations["a"]) == ("first", "b")
    assert stored.status.readyReplicas == 1


async def test_events_are_one_set_under_two_groups(chain):
    made = Event()
    made.metadata.name, made.involvedObject.name, made.message = "e", "web", "text"
    made.involvedObject.namespace = "default"
    await chain.create(LOOPBACK, Target(scheme.EVENTS, "default"), made)
    other = Target(scheme.EVENTS_EVENTS_V1, "default")
    options = ListOptions(Selectors(fields="regarding.name=web"))
    listed = await chain.list(LOOPBACK, other, options)
    assert [v.object.note for v in listed.items] == ["text"]
    assert listed.items[0].resource is scheme.EVENTS_EVENTS_V1
    theirs = events_v1_pb2.Event()
    theirs.metadata.name, theirs.note, theirs.regarding.name = "f", "more", "web"
    theirs.regarding.namespace = "default"
    await chain.create(LOOPBACK, other, theirs)
    stored = (await chain.get(LOOPBACK, Target(scheme.EVENTS, "default", "f"))).object
    assert (stored.message, stored.involvedObject.name) == ("more", "web")


async def test_updates_through_another_version(chain):
    target = Target(scheme.EVENTS_EVENTS_V1, "default", "e")
    made = Event()
    made.metadata.name, made.involvedObject.name, made.message = "e", "web", "text"
    made.involvedObject.namespace = "default"
    await chain.create(LOOPBACK, Target(scheme.EVENTS, "default"), made)
    shown = events_v1_pb2.Event()
    shown.CopyFrom((await chain.get(LOOPBACK, target)).object)
    shown.note, shown.series.count = "again", 2
    updated = await chain.update(LOOPBACK, target, shown)
    assert (updated.object.note, updated.object.series.count) == ("again", 2)
    patched = await chain.patch(LOOPBACK, target, MERGE, {"note": "and again"})
    assert patched.object.note == "and again"
    stored = (await chain.get(LOOPBACK, Target(scheme.EVENTS, "default", "e"))).object
    assert (stored.message, stored.series.count) == ("and again", 2)
    shown.metadata.name, shown.metadata.resourceVersion = "new", ""
    # An Event that is not there is made, as upstream makes it.
    created = await chain.update(LOOPBACK, named(target, "new"), shown)
    assert created.object.note == "again"


async def test_watch_through_another_version(chain):
    target = Target(scheme.EVENTS_EVENTS_V1, "default")
    events = chain.watch(LOOPBACK, target, WatchOptions(Selectors(fields="regarding.name=web")))
    first = asyncio.ensure_future(anext(events))
    await asyncio.sleep(0)
    for name in ("other", "web"):
        made = Event()
        made.metadata.name, made.involvedObject.name = name, name
        made.involvedObject.namespace = "default"
        await chain.create(LOOPBACK, Target(scheme.EVENTS, "default"), made)
    batch = await asyncio.wait_for(first, 30)
    assert [(e.type, e.version.object.regarding.name) for e in batch] == [("ADDED", "web")]
    await events.aclose()


async def test_namespaces_end_by_finalize(chain):
    obj = Namespace()
    obj.metadata.name = "x"
    target = Target(scheme.NAMESPACES, "", "x")
    await chain.create(LOOPBACK, Target(scheme.NAMESPACES), obj)
    ending = (await chain.delete(LOOPBACK, target, DeleteOptions())).object
    assert ending.status.phase == "Terminating"
    emptied = Namespace()
    emptied.CopyFrom(ending)
    del emptied.spec.finalizers[:]
    await chain.update(LOOPBACK, target, emptied)  # an ordinary update cannot end it
    assert (await chain.get(LOOPBACK, target)).object.spec.finalizers == ["kubernetes"]
    emptied.metadata.resourceVersion = ""
    await chain.update(LOOPBACK, named(target, "x", "finalize"), emptied)
    with pytest.raises(ApiError) as caught:
        await chain.get(LOOPBACK, target)
    assert caught.value.reason == "NotFound"


async def test_bindings_come_three_ways(chain):
    for name in ("a", "b", "c"):
        await chain.create(LOOPBACK, PODS, pod(name))

    def binding(name):
        obj = Binding()
        obj.metadata.namespace, obj.metadata.name, obj.target.name = "default", name, "n"
        return obj

    await chain.bind(LOOPBACK, binding("a"))
    await chain.create(LOOPBACK, named(PODS, "b", "binding"), binding("b"))
    await chain.create(LOOPBACK, Target(scheme.BINDINGS, "default"), binding("c"))
    listed = await chain.list(LOOPBACK, PODS, ListOptions())
    assert [v.object.spec.nodeName for v in listed.items] == ["n", "n", "n"]


async def test_evictions_delete(chain):
    await chain.create(LOOPBACK, PODS, pod("a"))
    answer = await chain.create(LOOPBACK, named(PODS, "a", "eviction"), Eviction())
    assert answer.object.status == "Success"
    assert (await chain.list(LOOPBACK, PODS, ListOptions())).items == []


async def test_delete_collection_selects(chain):
    for name, tier in (("a", "x"), ("b", "y"), ("c", "x")):
        await chain.create(LOOPBACK, PODS, pod(name, tier=tier))
    await chain.delete_collection(LOOPBACK, PODS, DeleteOptions(), Selectors("tier=x"))
    left = await chain.list(LOOPBACK, PODS, ListOptions())
    assert [v.object.metadata.name for v in left.items] == ["b"]


@pytest.mark.parametrize(
    ("target", "code"),
    [
        pytest.param(Target(scheme.TOKENREVIEWS, "", "x"), 405, id="reviews are not stored"),
        pytest.param(named(PODS, "a", "binding"), 405, id="binding"),
    ],
)
async def test_what_is_not_served_says_so(chain, target, code):
    await chain.create(LOOPBACK, PODS, pod("a"))
    with pytest.raises(ApiError) as caught:
        await chain.update(LOOPBACK, target, pod("a"))
    assert caught.value.code == code


async def test_secrets_hold_no_string_data(chain):
    obj = Secret()
    obj.metadata.name = "s"
    obj.stringData["a"] = "b"
    made = await chain.create(LOOPBACK, Target(scheme.SECRETS, "default"), obj)
    assert made.object.data["a"] == b"b"
    assert b"stringData" not in made.json_bytes
