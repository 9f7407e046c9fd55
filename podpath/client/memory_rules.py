"""What an API server does to objects, as far as `memory.py` does it: pure functions."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from google.protobuf.message import Message

from podpath.api import fields, json_codec
from podpath.api import patch as json_patching
from podpath.api.errors import ApiError
from podpath.api.scheme import PODS, ObjectT, Resource
from podpath.client.interface import EventType, Selection, WatchEvent
from protos.k8s.core_v1_pb2 import Binding, Pod
from protos.k8s.meta_v1_pb2 import DeleteOptions, ObjectMeta

INITIAL_EVENTS_END = "k8s.io/initial-events-end"

ResultT = TypeVar("ResultT")
Key = tuple[str, str]
Match = Callable[[Message], bool]


@dataclass(frozen=True, slots=True)
class Change:
    """One write. `previous` is None for a creation; `object` is what was there for a deletion."""

    version: int
    resource: Resource[Any]
    key: Key
    object: Message
    previous: Message | None
    deleted: bool = False


async def outcome_of(call: Awaitable[ResultT]) -> ResultT | ApiError:
    try:
        return await call
    except ApiError as error:
        return error


def patched(
    resource: Resource[ObjectT], current: ObjectT, document: Any, patch_type: str
) -> ObjectT:
    tree = json_patching.apply(patch_type, resource, json_codec.to_json(current), document)
    return json_codec.from_json(resource.message, tree).message


def meta_of(obj: Message) -> ObjectMeta:
    return cast("ObjectMeta", cast("Any", obj).metadata)


def copy_of(obj: ObjectT) -> ObjectT:
    copy = type(obj)()
    copy.CopyFrom(obj)
    return copy


def key_of(resource: Resource[Any], obj: Message) -> Key:
    meta = meta_of(obj)
    return (meta.namespace if resource.namespaced else "", meta.name)


def merged(
    resource: Resource[ObjectT], current: ObjectT, obj: ObjectT, subresource: str
) -> ObjectT:
    """What an update stores: the part that it may change from `obj`, the rest from `current`."""
    writes_status = subresource in ("status", "approval")
    base, part = (current, obj) if writes_status else (obj, current)
    copy = copy_of(base)
    if "status" in resource.subresources:
        copy.ClearField("status")
        if part.HasField("status"):
            cast("Any", copy).status.CopyFrom(cast("Any", part).status)
    meta, old = meta_of(copy), meta_of(current)
    meta.uid, meta.resourceVersion = old.uid, old.resourceVersion
    meta.creationTimestamp.CopyFrom(old.creationTimestamp)
    if old.HasField("deletionTimestamp"):
        meta.deletionTimestamp.CopyFrom(old.deletionTimestamp)
        meta.deletionGracePeriodSeconds = old.deletionGracePeriodSeconds
    return copy


def grace_s(resource: Resource[Any], obj: Message, options: DeleteOptions) -> int:
    """Seconds that a deletion leaves: only Pods on a node that have not ended get any."""
    pod = cast("Any", obj)
    if resource is not PODS or not pod.spec.nodeName:
        return 0
    if pod.status.phase in ("Succeeded", "Failed"):
        return 0
    if options.HasField("gracePeriodSeconds"):
        return max(options.gracePeriodSeconds, 0)
    if pod.spec.HasField("terminationGracePeriodSeconds"):
        return int(pod.spec.terminationGracePeriodSeconds)
    return 30


def refusal(pod: Pod, binding: Binding) -> str:
    """Why the Pod cannot be bound so; empty when it can."""
    name, wanted = pod.metadata.name, binding.metadata.uid
    if wanted not in ("", pod.metadata.uid):
        return (
            f"Precondition failed: UID in precondition: {wanted}, "
            f"UID in object meta: {pod.metadata.uid}"
        )
    if pod.metadata.HasField("deletionTimestamp"):
        return f"pod {name} is being deleted, cannot be assigned to a host"
    if pod.spec.nodeName:
        return f'pod {name} is already assigned to node "{pod.spec.nodeName}"'
    if pod.spec.schedulingGates:
        return f"pod {name} has non-empty .spec.schedulingGates"
    return ""


def matcher(resource: Resource[Any], selection: Selection) -> Match:
    labels = fields.parse_labels(selection.label_selector)
    wanted = fields.parse(resource, selection.field_selector)

    def matches(obj: Message) -> bool:
        meta = meta_of(obj)
        if selection.namespace and meta.namespace != selection.namespace:
            return False
        return labels.matches(meta.labels) and fields.matches(resource, obj, wanted)

    return matches


def event_of(change: Change, resource: Resource[Any], matches: Match) -> WatchEvent[Message] | None:
    """What a watcher that selects by `matches` sees of a change, if anything."""
    if change.resource is not resource:
        return None
    before = change.previous is not None and matches(change.previous)
    after = not change.deleted and matches(change.object)
    if after:
        return WatchEvent(EventType.MODIFIED if before else EventType.ADDED, change.object)
    return WatchEvent(EventType.DELETED, change.object) if before else None


def bookmark(resource: Resource[ObjectT], version: int) -> WatchEvent[ObjectT]:
    obj = resource.message()
    meta_of(obj).resourceVersion = str(version)
    meta_of(obj).annotations[INITIAL_EVENTS_END] = "true"
    return WatchEvent(EventType.BOOKMARK, obj)
