"""Deletes what has lost its owners, and holds owners back that wait for their dependents.

The graph is not stored: every kind's informer indexes its objects by their owners' uids, so the
dependents of an object are one look-up in each kind, and an owner is there if its kind's store
holds its uid. What the stores do not show is asked of the server before anything is deleted.

* background: the owner goes, then what has no owner left.
* foreground (finalizer `foregroundDeletion`): dependents go first, the owner stays until no
  dependent that blocks it is left.
* orphan (finalizer `orphan`): dependents lose the reference and stay.

Source: k8s.io/kubernetes pkg/controller/garbagecollector (garbagecollector.go, graph_builder.go).
"""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from google.protobuf.message import Message

from controllers import garbage_decisions as decisions
from controllers.garbage_decisions import FOREGROUND, ORPHAN, OwnerState
from controllers.ownership import modify, remove_owners
from controllers.reconciler import Context, Loop, Requeue
from podpath.api import scheme
from podpath.api.errors import ApiError
from podpath.api.scheme import Resource, UnknownKindError
from podpath.client.informer import Handlers, Informer, ObjectKey, by_owner_uid, key_of, metadata_of
from protos.k8s.meta_v1_pb2 import DeleteOptions, ObjectMeta, OwnerReference, Preconditions

log = logging.getLogger(__name__)

NAME = "garbage-collector-controller"
WORKERS = 20
SYNC_LIMIT_S = 30.0
# Uids that were seen to be gone; a uid never comes back.
ABSENT_LIMIT = 10_000
# Kinds that are never owned, or not stored.
_IGNORED = frozenset({"events", "componentstatuses", "bindings"})
_NEEDED_VERBS = frozenset({"list", "watch", "delete"})


class Item(NamedTuple):
    """One object: its kind, its key and the uid that is meant."""

    resource: Resource[Any]
    key: ObjectKey
    uid: str

    def __str__(self) -> str:
        return f"{self.resource.qualified_name} {self.key}"


def collected_resources() -> list[Resource[Any]]:
    """Every kind that can be listed, watched and deleted; each under one version only."""
    chosen: dict[tuple[str, str], Resource[Any]] = {}
    for resource in scheme.resources():
        if resource.name not in _IGNORED and set(resource.verbs) >= _NEEDED_VERBS:
            chosen.setdefault((resource.group, resource.name), resource)
    return list(chosen.values())


class GarbageCollector:
    def __init__(self, context: Context, resources: Sequence[Resource[Any]] | None = None) -> None:
        """`resources` are the kinds to watch; None for all."""
        self._client = context.client
        self._clock = context.clock
        self._informers: dict[Resource[Any], Informer[Any]] = {}
        self._uids: dict[str, Item] = {}
        self._absent: dict[str, None] = {}
        self._loop: Loop[Item] = Loop(NAME, self.reconcile, clock=context.clock, workers=WORKERS)
        for resource in collected_resources() if resources is None else resources:
            informer = context.informers.informer(resource)
            informer.add_index("owners", by_owner_uid)
            informer.add_handlers(self._handlers(resource))
            self._informers[resource] = informer

    async def run(self) -> None:
        """Starts when all kinds are known. One that stays unreadable is left out with a warning:
        its objects are not collected, but nothing is collected wrongly."""
        await self._wait_synced()
        for resource, informer in self._informers.items():
            if not informer.has_synced:
                log.warning("kind not readable", extra={"resource": resource.qualified_name})
        await self._loop.run()

    async def _wait_synced(self) -> None:
        synced = asyncio.gather(*(i.wait_synced() for i in self._informers.values()))
        limit = asyncio.ensure_future(self._clock.sleep(SYNC_LIMIT_S))
        try:
            await asyncio.wait((synced, limit), return_when=asyncio.FIRST_COMPLETED)
        finally:
            synced.cancel()
            limit.cancel()

    # Handlers

    def _handlers(self, resource: Resource[Any]) -> Handlers[Any]:
        def added(obj: Message) -> None:
            item = _item(resource, obj)
            self._uids[item.uid] = item
            self._consider(item, obj)

        def updated(old: Message, new: Message) -> None:
            before, after = metadata_of(old), metadata_of(new)
            if not before.ownerReferences and not after.HasField("deletionTimestamp"):
                # By far the most updates: no owner to lose, not on its way out.
                if after.ownerReferences:
                    self._consider(_item(resource, new), new)
                return
            lost = list(before.ownerReferences) != list(after.ownerReferences)
            if lost or after.HasField("deletionTimestamp"):
                self._consider(_item(resource, new), new)
            if lost:
                self._reconsider_owners(before)

        def deleted(obj: Message) -> None:
            self._gone(_item(resource, obj), obj)

        return Handlers(added, updated, deleted)

    def _consider(self, item: Item, obj: Message) -> None:
        """Queues what is on its way out under a finalizer of ours, or may have lost an owner."""
        meta = metadata_of(obj)
        if meta.HasField("deletionTimestamp"):
            if FOREGROUND in meta.finalizers or ORPHAN in meta.finalizers:
                self._loop.queue.add(item)
        elif any(reference.uid not in self._uids for reference in meta.ownerReferences):
            self._loop.queue.add(item)

    def _gone(self, item: Item, obj: Message) -> None:
        self._uids.pop(item.uid, None)
        self._remember_absent(item.uid)
        for dependent in self._dependents(item.uid):
            self._loop.queue.add(_item(*dependent))
        self._reconsider_owners(metadata_of(obj))

    def _reconsider_owners(self, meta: ObjectMeta) -> None:
        """An owner that waits for its dependents may now be free to go."""
        for reference in meta.ownerReferences:
            owner = self._uids.get(reference.uid)
            if owner is not None and self._waits(owner):
                self._loop.queue.add(owner)

    def _dependents(self, uid: str) -> Iterator[tuple[Resource[Any], Message]]:
        for resource, informer in self._informers.items():
            for obj in informer.store.by_index("owners", uid):
                yield resource, obj

    def _cached(self, item: Item) -> Message | None:
        obj: Message | None = self._informers[item.resource].store.get(*item.key)
        return obj if obj is not None and metadata_of(obj).uid == item.uid else None

    def _waits(self, item: Item) -> bool:
        obj = self._cached(item)
        return obj is not None and decisions.waits_for_dependents(metadata_of(obj))

    # Reconcile

    async def reconcile(self, item: Item) -> Requeue | None:
        obj = self._cached(item)
        if obj is None:
            return None
        meta = metadata_of(obj)
        if meta.HasField("deletionTimestamp"):
            if ORPHAN in meta.finalizers:
                await self._orphan_dependents(item)
            elif FOREGROUND in meta.finalizers:
                await self._delete_dependents_first(item)
            return None
        states = [(ref, await self._owner_state(item, ref)) for ref in meta.ownerReferences]
        dependents = [metadata_of(dependent) for _, dependent in self._dependents(item.uid)]
        decided = decisions.decide(
            meta,
            states,
            has_dependents=bool(dependents),
            a_dependent_waits=any(map(decisions.waits_for_dependents, dependents)),
        )
        if decided.drop:
            dropped = set(decided.drop)
            await modify(self._client, item.resource, meta, lambda o: remove_owners(o, dropped))
        elif decided.delete:
            if decided.unblock:
                unblocked = await modify(self._client, item.resource, meta, _unblock_owners)
                if unblocked is None:
                    return None
                meta = metadata_of(unblocked)
            await self._delete(item, meta.resourceVersion, decided.policy)
        return None

    async def _owner_state(self, item: Item, reference: OwnerReference) -> OwnerState:
        known = self._uids.get(reference.uid)
        if known is not None:
            return OwnerState.WAITING if self._waits(known) else OwnerState.SOLID
        if reference.uid in self._absent:
            return OwnerState.ABSENT
        return await self._ask(item, reference)

    async def _ask(self, item: Item, reference: OwnerReference) -> OwnerState:
        """The server's word on an owner that the stores do not hold."""
        try:
            resource = scheme.by_kind(reference.apiVersion, reference.kind)
        except UnknownKindError:
            # A kind that nobody here knows, such as a custom resource: it may well exist.
            return OwnerState.SOLID
        namespace = item.key.namespace if resource.namespaced else ""
        if resource.namespaced and not namespace:
            # A cluster-scoped object cannot be owned by a namespaced one; nothing is sure here.
            log.warning("owner of a wrong scope", extra={"item": str(item)})
            return OwnerState.SOLID
        try:
            owner = metadata_of(await self._client.get(resource, namespace, reference.name))
        except ApiError as error:
            if error.reason != "NotFound":
                raise
        else:
            if owner.uid == reference.uid:
                waits = decisions.waits_for_dependents(owner)
                return OwnerState.WAITING if waits else OwnerState.SOLID
        self._remember_absent(reference.uid)
        return OwnerState.ABSENT

    def _remember_absent(self, uid: str) -> None:
        self._absent[uid] = None
        if len(self._absent) > ABSENT_LIMIT:
            del self._absent[next(iter(self._absent))]

    async def _delete(self, item: Item, resource_version: str, policy: str) -> None:
        """Only in the state that was judged: a newer one is judged anew."""
        preconditions = Preconditions(uid=item.uid, resourceVersion=resource_version)
        options = DeleteOptions(preconditions=preconditions, propagationPolicy=policy)
        try:
            await self._client.delete(item.resource, *item.key, options)
        except ApiError as error:
            if error.reason == "NotFound":
                return
            raise
        log.debug("deleted", extra={"item": str(item), "policy": policy})

    async def _delete_dependents_first(self, item: Item) -> None:
        dependents = list(self._dependents(item.uid))
        for resource, obj in dependents:
            if not metadata_of(obj).HasField("deletionTimestamp"):
                self._loop.queue.add(_item(resource, obj))
        if not any(decisions.blocks_owner(metadata_of(obj), item.uid) for _, obj in dependents):
            await self._remove_finalizer(item, FOREGROUND)

    async def _orphan_dependents(self, item: Item) -> None:
        for resource, obj in list(self._dependents(item.uid)):
            meta = metadata_of(obj)
            await modify(self._client, resource, meta, lambda o: remove_owners(o, {item.uid}))
        await self._remove_finalizer(item, ORPHAN)

    async def _remove_finalizer(self, item: Item, finalizer: str) -> None:
        obj = self._cached(item)
        if obj is None:
            return

        def remove(live: Message) -> bool:
            finalizers = metadata_of(live).finalizers
            if finalizer not in finalizers:
                return False
            finalizers.remove(finalizer)
            return True

        await modify(self._client, item.resource, metadata_of(obj), remove)


def _unblock_owners(obj: Message) -> bool:
    return decisions.unblock_owners(metadata_of(obj))


def _item(resource: Resource[Any], obj: Message) -> Item:
    return Item(resource, key_of(obj), metadata_of(obj).uid)
