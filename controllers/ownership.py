"""Which objects a controller owns: its own that still match, and orphans that it adopts.

Source: k8s.io/kubernetes pkg/controller/controller_ref_manager.go.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic

from google.protobuf.message import Message

from podpath.api.errors import ApiError
from podpath.api.scheme import ObjectT, Resource
from podpath.api.selectors import from_message
from podpath.client.informer import controller_of, metadata_of
from podpath.client.interface import Client
from protos.k8s.meta_v1_pb2 import (
    LabelSelector,
    ObjectMeta,
    OwnerReference,
)

CONFLICT_ATTEMPTS = 5

Labels = Mapping[str, str]
Matches = Callable[[Labels], bool]


def matcher(selector: LabelSelector) -> Matches:
    """A test for labels; an empty selector matches everything. Raises: SelectorError."""
    return from_message(selector).matches


def is_empty(selector: LabelSelector) -> bool:
    return not selector.matchLabels and not selector.matchExpressions


def orphans_by_namespace(obj: Message) -> Iterable[Hashable]:
    """Index function: the namespace of objects that no controller manages."""
    meta = metadata_of(obj)
    return () if controller_of(meta) is not None else (meta.namespace,)


def controller_reference(resource: Resource[ObjectT], owner: ObjectT) -> OwnerReference:
    """The reference that makes `owner` the managing controller."""
    meta = metadata_of(owner)
    return OwnerReference(
        apiVersion=resource.api_version,
        kind=resource.kind,
        name=meta.name,
        uid=meta.uid,
        controller=True,
        blockOwnerDeletion=True,
    )


@dataclass(frozen=True, slots=True)
class Claim(Generic[ObjectT]):
    """`owned` stay, `adopt` get an owner reference, `release` lose theirs."""

    owned: list[ObjectT]
    adopt: list[ObjectT]
    release: list[ObjectT]


def decide_claims(
    owner: ObjectMeta, matches: Matches, candidates: Sequence[ObjectT]
) -> Claim[ObjectT]:
    """Sorts candidates. An owner that is being deleted neither adopts nor releases."""
    claim: Claim[ObjectT] = Claim([], [], [])
    deleting = owner.HasField("deletionTimestamp")
    for obj in candidates:
        meta = metadata_of(obj)
        reference = controller_of(meta)
        if reference is not None:
            if reference.uid != owner.uid:
                continue
            if matches(meta.labels):
                claim.owned.append(obj)
            elif not deleting:
                claim.release.append(obj)
        elif not deleting and not meta.HasField("deletionTimestamp") and matches(meta.labels):
            claim.adopt.append(obj)
    return claim


async def modify(
    client: Client,
    resource: Resource[ObjectT],
    target: ObjectMeta,
    change: Callable[[ObjectT], bool],
    *,
    subresource: str = "",
) -> ObjectT | None:
    """Reads the object, lets `change` alter it, stores it; again when another writer was faster.

    `change` returns False when nothing is to be written. None when the object of that uid is gone.
    """
    for attempt in range(CONFLICT_ATTEMPTS):
        try:
            obj = await client.get(resource, target.namespace, target.name)
            if metadata_of(obj).uid != target.uid:
                return None
            if not change(obj):
                return obj
            return await client.update(resource, obj, subresource=subresource)
        except ApiError as error:
            if error.reason == "NotFound":
                return None
            if error.reason != "Conflict" or attempt + 1 == CONFLICT_ATTEMPTS:
                raise
    raise AssertionError("unreachable")


async def claim(
    client: Client,
    owner_resource: Resource[Any],
    owner: Message,
    resource: Resource[ObjectT],
    decided: Claim[ObjectT],
) -> list[ObjectT]:
    """Carries a claim out; returns what is owned then. Raises: ApiError."""
    owned = list(decided.owned)
    if decided.adopt and await _may_adopt(client, owner_resource, owner):
        reference = controller_reference(owner_resource, owner)
        for obj in decided.adopt:
            adopted = await modify(
                client, resource, metadata_of(obj), lambda o: _add_owner(o, reference)
            )
            if adopted is not None and _is_owned(adopted, owner):
                owned.append(adopted)
    uid = metadata_of(owner).uid
    for obj in decided.release:
        await modify(client, resource, metadata_of(obj), lambda o: remove_owners(o, {uid}))
    return owned


def _is_owned(obj: Message, owner: Message) -> bool:
    reference = controller_of(metadata_of(obj))
    return reference is not None and reference.uid == metadata_of(owner).uid


async def _may_adopt(client: Client, resource: Resource[Any], owner: Message) -> bool:
    """Asks the server itself: the cache may not know yet that the owner is being deleted."""
    meta = metadata_of(owner)
    try:
        live = metadata_of(await client.get(resource, meta.namespace, meta.name))
    except ApiError as error:
        if error.reason == "NotFound":
            return False
        raise
    return live.uid == meta.uid and not live.HasField("deletionTimestamp")


def _add_owner(obj: Message, reference: OwnerReference) -> bool:
    meta = metadata_of(obj)
    if controller_of(meta) is not None or meta.HasField("deletionTimestamp"):
        return False
    meta.ownerReferences.append(reference)
    return True


def remove_owners(obj: Message, uids: set[str]) -> bool:
    """Takes the references to those owners out; False when there is none."""
    meta = metadata_of(obj)
    kept = [reference for reference in meta.ownerReferences if reference.uid not in uids]
    if len(kept) == len(meta.ownerReferences):
        return False
    del meta.ownerReferences[:]
    meta.ownerReferences.extend(kept)
    return True
