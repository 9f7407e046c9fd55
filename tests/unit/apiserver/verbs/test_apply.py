"""Server-side apply against recorded answers of a running kube-apiserver, and what it costs."""

import json
from pathlib import Path

import orjson
import pytest

from apiserver.authentication.users import LOOPBACK
from apiserver.registry import managed_fields
from apiserver.verbs.interface import Created, Target, WriteOptions
from podpath.api import json_codec, scheme
from podpath.api.errors import ApiError
from protos.k8s.core_v1_pb2 import Binding, ConfigMap, Pod
from tests.support.verbs import local_apiserver

GOLDEN = Path(__file__).parents[3] / "golden" / "server-side-apply.json"
STEPS = json.loads(GOLDEN.read_text())["steps"]
RESOURCES = {
    "deployments": scheme.DEPLOYMENTS,
    "services": scheme.SERVICES,
    "configmaps": scheme.CONFIGMAPS,
}
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
CONFIG_MAP = Target(scheme.CONFIGMAPS, "default", "m")


def config_map(**data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": data}


def by(manager, *, force=False, dry_run=False):
    return WriteOptions(field_manager=manager, force=force, dry_run=dry_run)


@pytest.fixture
async def chain():
    async with local_apiserver() as local:
        yield local.chain


def entries(tree):
    found = [
        {key: value for key, value in entry.items() if key != "time"}
        for entry in tree["metadata"].get("managedFields", [])
    ]
    return sorted(found, key=lambda entry: json.dumps(entry, sort_keys=True))


def spec_of(tree):
    """A Service's addresses are chosen by chance."""
    spec = tree.get("spec")
    hidden = ("clusterIP", "clusterIPs")
    return spec and {key: value for key, value in spec.items() if key not in hidden}


async def answer(chain, step):
    """(code, what the step is compared by)"""
    resource = RESOURCES[step["resource"]]
    target = Target(resource, "default", step["name"], step["subresource"])
    options = by(step["manager"], force=step["force"])
    try:
        version = await chain.patch(LOOPBACK, target, step["type"], step["body"], options)
    except ApiError as error:
        causes = error.status.details.causes
        told = [{"reason": c.reason, "message": c.message, "field": c.field} for c in causes]
        found = {"message": error.status.message, "reason": error.reason, "causes": told or None}
        return error.code, found
    owner = await chain.get(LOOPBACK, Target(resource, "default", step["name"]))
    tree = orjson.loads(owner.json_bytes)
    meta = tree["metadata"]
    found = {key: meta.get(key) for key in ("labels", "annotations", "finalizers")}
    found |= {"managedFields": entries(tree), "spec": spec_of(tree), "data": tree.get("data")}
    return 201 if isinstance(version, Created) else 200, found


async def test_every_step_is_answered_as_a_running_kube_apiserver_answers_it(chain):
    for number, step in enumerate(STEPS):
        if not step["manager"]:
            continue  # the HTTPS door's: without a manager nothing reaches the verb
        code, found = await answer(chain, step)
        assert (number, code, found) == (number, step["code"], {key: step[key] for key in found})


async def test_the_same_apply_again_writes_nothing(chain):
    first = await chain.patch(LOOPBACK, CONFIG_MAP, APPLY, config_map(a="1"), by("one"))
    second = await chain.patch(LOOPBACK, CONFIG_MAP, APPLY, config_map(a="1"), by("one"))
    assert first.object.metadata.resourceVersion == second.object.metadata.resourceVersion


async def test_a_dry_run_stores_nothing(chain):
    await chain.patch(LOOPBACK, CONFIG_MAP, APPLY, config_map(a="1"), by("one", dry_run=True))
    with pytest.raises(ApiError) as caught:
        await chain.get(LOOPBACK, CONFIG_MAP)
    assert caught.value.reason == "NotFound"


async def test_what_an_object_held_before_its_first_apply_conflicts(chain):
    obj = ConfigMap(data={"a": "1", "b": "2"})
    obj.metadata.name = "m"
    await chain.create(LOOPBACK, Target(scheme.CONFIGMAPS, "default"), obj, by("creator"))
    with pytest.raises(ApiError) as caught:
        await chain.patch(LOOPBACK, CONFIG_MAP, APPLY, config_map(a="3"), by("one"))
    assert caught.value.status.message == (
        'Apply failed with 1 conflict: conflict with "before-first-apply" using v1: .data.a'
    )
    version = await chain.patch(
        LOOPBACK, CONFIG_MAP, APPLY, config_map(a="3"), by("one", force=True)
    )
    assert {e.manager: e.fieldsV1.Raw for e in version.object.metadata.managedFields} == {
        "one": b'{"f:data":{"f:a":{}}}',
        "before-first-apply": b'{"f:data":{".":{},"f:b":{}}}',
    }


async def test_kubectl_takes_over_what_it_had_applied_from_the_clients_side(chain):
    obj = ConfigMap(data={"a": "1"})
    obj.metadata.name = "m"
    record = json.dumps(config_map(a="1"))
    name = "kubectl.kubernetes.io/last-applied-configuration"
    obj.metadata.annotations[name] = record
    await chain.create(LOOPBACK, Target(scheme.CONFIGMAPS, "default"), obj)
    version = await chain.patch(LOOPBACK, CONFIG_MAP, APPLY, config_map(a="2"), by("kubectl"))
    assert dict(version.object.data) == {"a": "2"}
    assert json.loads(version.object.metadata.annotations[name])["data"] == {"a": "2"}


async def test_updaters_beyond_ten_become_one(chain):
    await chain.patch(LOOPBACK, CONFIG_MAP, APPLY, config_map(a="1"), by("one"))
    for number in range(12):
        document = {"data": {f"k{number}": "v"}}
        version = await chain.patch(LOOPBACK, CONFIG_MAP, MERGE, document, by(f"m{number}"))
    found = version.object.metadata.managedFields
    assert sum(entry.operation == "Update" for entry in found) == 10
    assert "ancient-changes" in [entry.manager for entry in found]


async def test_a_bind_has_the_node_of_a_pod_that_was_applied(chain):
    target = Target(scheme.PODS, "default", "p")
    spec = {"containers": [{"name": "c", "image": "i"}]}
    config = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}
    await chain.patch(LOOPBACK, target, APPLY, config, by("one"))
    binding = Binding()
    binding.metadata.namespace, binding.metadata.name = "default", "p"
    binding.target.name = "n"
    await chain.bind(LOOPBACK, binding, by("scheduler"))
    found = (await chain.get(LOOPBACK, target)).object
    owned = json_codec.to_json(found)["metadata"]["managedFields"]
    by_manager = {entry["manager"]: entry for entry in owned}
    assert by_manager["scheduler"]["subresource"] == "binding"
    assert by_manager["scheduler"]["fieldsV1"]["f:spec"] == {"f:nodeName": {}}


async def test_objects_that_nobody_applied_are_not_tracked(chain, monkeypatch):
    """Updates of them never reach the tracking, whatever managed fields a creator claims."""

    def track(*_):
        raise AssertionError("tracked")

    monkeypatch.setattr(managed_fields, "track", track)
    pod = Pod()
    pod.metadata.name = "p"
    pod.spec.containers.add(name="c", image="i")
    pod.metadata.managedFields.add(manager="x", operation="Update")
    target = Target(scheme.PODS, "default", "p")
    created = await chain.create(LOOPBACK, Target(scheme.PODS, "default"), pod, by("creator"))
    assert not created.object.metadata.managedFields
    labels = {"metadata": {"labels": {"x": "y"}}}
    updated = await chain.patch(LOOPBACK, target, MERGE, labels, by("u"))
    assert not updated.object.metadata.managedFields


async def test_views_cannot_be_applied_and_say_so(chain):
    target = Target(scheme.HORIZONTALPODAUTOSCALERS_V1, "default", "h")
    with pytest.raises(ApiError) as caught:
        await chain.patch(LOOPBACK, target, APPLY, {}, by("one"))
    assert (caught.value.code, "is not served" in caught.value.status.message) == (415, True)
