"""Keeps as many Pods as a ReplicaSet wants.

1. Wait until all that was asked for earlier has been seen (expectations).
2. Claim: own Pods that match stay, matching orphans are adopted, others released.
3. Create in batches of 1, 2, 4, ... (a template that is refused costs one request, not
   hundreds), or delete those that hurt least.
4. Write the status when it differs.

Source: k8s.io/kubernetes pkg/controller/replicaset/replica_set.go.
"""

import asyncio
from collections.abc import Sequence

from controllers import ownership
from controllers import pods as pod_facts
from controllers import replicaset_actions as actions
from controllers.expectations import Expectations
from controllers.ownership import orphans_by_namespace
from controllers.reconciler import Context, Loop, Requeue
from controllers.semantics import equal
from podpath.api.errors import ApiError
from podpath.api.scheme import PODS, REPLICASETS
from podpath.client.event_recorder import NORMAL, WARNING
from podpath.client.informer import (
    Handlers,
    ObjectKey,
    by_controller_uid,
    controller_of,
    key_of,
)
from protos.k8s.apps_v1_pb2 import ReplicaSet, ReplicaSetStatus
from protos.k8s.core_v1_pb2 import Pod
from protos.k8s.meta_v1_pb2 import DeleteOptions, ObjectMeta, Preconditions

NAME = "replicaset-controller"
DELETE_CONCURRENCY = 32
NAMESPACE_TERMINATING = "NamespaceTerminating"
# A round looks at every Pod. Changes that only concern the status are gathered for this long for
# each Pod, else a set of a thousand Pods would be counted a thousand times while it starts.
GATHER_S_PER_POD = 0.0002


class ReplicaSetController:
    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._recorder = context.recorder(NAME)
        self._expectations = Expectations(context.clock)
        sets = context.informers.informer(REPLICASETS)
        pods = context.informers.informer(PODS)
        self._sets, self._pods = sets.store, pods.store
        sets.add_index("controller", by_controller_uid)
        pods.add_index("controller", by_controller_uid)
        pods.add_index("orphans", orphans_by_namespace)
        self._loop: Loop[ObjectKey] = Loop(
            NAME, self.reconcile, clock=context.clock, wait_for=(sets, pods)
        )
        sets.add_handlers(Handlers(self._enqueue, self._set_updated, self._set_deleted))
        pods.add_handlers(Handlers(self._pod_added, self._pod_updated, self._pod_deleted))

    async def run(self) -> None:
        await self._loop.run()

    # Handlers: from a change to the keys it concerns

    def _enqueue(self, replica_set: ReplicaSet) -> None:
        self._loop.queue.add(key_of(replica_set))

    def _enqueue_for_status(self, replica_set: ReplicaSet) -> None:
        delay_s = replica_set.status.replicas * GATHER_S_PER_POD
        self._loop.queue.add_after(key_of(replica_set), delay_s)

    def _set_updated(self, old: ReplicaSet, new: ReplicaSet) -> None:
        if old.metadata.generation == new.metadata.generation != 0:
            self._enqueue_for_status(new)
        else:
            self._enqueue(new)

    def _set_deleted(self, replica_set: ReplicaSet) -> None:
        self._expectations.forget(key_of(replica_set))
        self._enqueue(replica_set)

    def _pod_added(self, pod: Pod) -> None:
        if pod.metadata.HasField("deletionTimestamp"):
            self._pod_deleted(pod)
            return
        owner = self._owner_of(pod.metadata)
        if owner is not None:
            self._expectations.creation_observed(key_of(owner))
            self._enqueue(owner)
        elif controller_of(pod.metadata) is None:
            self._enqueue_matching(pod)

    def _pod_updated(self, old: Pod, new: Pod) -> None:
        if new.metadata.HasField("deletionTimestamp"):
            # Graceful deletion has begun: for the ReplicaSet the Pod is gone.
            self._pod_deleted(new)
            return
        before, after = controller_of(old.metadata), controller_of(new.metadata)
        if before is not None and (after is None or after.uid != before.uid):
            former = self._owner_of(old.metadata)
            if former is not None:
                self._enqueue(former)
        if after is not None:
            owner = self._owner_of(new.metadata)
            if owner is not None:
                if pod_facts.is_active(new):
                    self._enqueue_for_status(owner)
                else:
                    self._enqueue(owner)
        elif before is not None or dict(old.metadata.labels) != dict(new.metadata.labels):
            self._enqueue_matching(new)

    def _pod_deleted(self, pod: Pod) -> None:
        owner = self._owner_of(pod.metadata)
        if owner is not None:
            self._expectations.deletion_observed(key_of(owner), pod.metadata.uid)
            self._enqueue(owner)

    def _owner_of(self, meta: ObjectMeta) -> ReplicaSet | None:
        reference = controller_of(meta)
        if reference is None or reference.kind != REPLICASETS.kind:
            return None
        owner = self._sets.get(meta.namespace, reference.name)
        return owner if owner is not None and owner.metadata.uid == reference.uid else None

    def _enqueue_matching(self, pod: Pod) -> None:
        for replica_set in self._sets.list(pod.metadata.namespace):
            selector = replica_set.spec.selector
            if not ownership.is_empty(selector) and ownership.matcher(selector)(
                pod.metadata.labels
            ):
                self._enqueue(replica_set)

    # Reconcile

    async def reconcile(self, key: ObjectKey) -> Requeue | None:
        replica_set = self._sets.get(*key)
        if replica_set is None:
            self._expectations.forget(key)
            return None
        believed = self._expectations.satisfied(key)
        active = await self._claim_pods(replica_set)
        failure: actions.Failure | None = None
        error: Exception | None = None
        now_s = self._clock.now().timestamp()
        if believed and not replica_set.metadata.HasField("deletionTimestamp"):
            surplus = len(active) > actions.wanted_replicas(replica_set)
            related = self._related_pods(replica_set) if surplus else []
            decided = actions.decide_replicas(replica_set, active, related, now_s)
            error = await self._do(key, replica_set, decided)
            if error is not None:
                reason = "FailedCreate" if decided.difference < 0 else "FailedDelete"
                failure = actions.Failure(reason, str(error))
        await self._write_status(
            replica_set, actions.compute_status(replica_set, active, failure, now_s)
        )
        if error is not None:
            raise error
        wait = actions.next_look_s(active, replica_set.spec.minReadySeconds, now_s)
        return Requeue(wait) if wait is not None else None

    async def _claim_pods(self, replica_set: ReplicaSet) -> list[Pod]:
        meta = replica_set.metadata
        candidates = [
            pod
            for pod in (
                *self._pods.by_index("controller", meta.uid),
                *self._pods.by_index("orphans", meta.namespace),
            )
            if pod_facts.is_active(pod)
        ]
        matches = ownership.matcher(replica_set.spec.selector)
        decided = ownership.decide_claims(meta, matches, candidates)
        return await ownership.claim(self._client, REPLICASETS, replica_set, PODS, decided)

    def _related_pods(self, replica_set: ReplicaSet) -> list[Pod]:
        """Pods of all ReplicaSets that have the same controller as this one."""
        reference = controller_of(replica_set.metadata)
        siblings = (
            self._sets.by_index("controller", reference.uid)
            if reference is not None
            else [replica_set]
        )
        return [
            pod
            for sibling in siblings
            for pod in self._pods.by_index("controller", sibling.metadata.uid)
        ]

    async def _do(
        self, key: ObjectKey, replica_set: ReplicaSet, decided: actions.ReplicaActions
    ) -> Exception | None:
        """Creates or deletes; returns the first failure instead of raising it."""
        if decided.create:
            self._expectations.expect_creations(key, decided.create)
            return await self._create(key, replica_set, decided.create)
        if decided.delete:
            self._expectations.expect_deletions(key, [pod.metadata.uid for pod in decided.delete])
            return await self._delete(key, replica_set, decided.delete)
        return None

    async def _create(
        self, key: ObjectKey, replica_set: ReplicaSet, count: int
    ) -> Exception | None:
        pod = actions.pod_from_template(replica_set)
        remaining, batch = count, 1
        while remaining:
            size = min(batch, remaining)
            results = await self._create_batch(pod, size)
            failures = [result for result in results if isinstance(result, ApiError)]
            for result in results:
                self._tell_created(replica_set, result)
            remaining -= size
            if failures:
                # What failed and what is no longer tried will never be seen.
                self._expectations.creation_observed(key, len(failures) + remaining)
                failures = [f for f in failures if not _is_terminating(f)]
                return failures[0] if failures else None
            batch *= 2
        return None

    async def _create_batch(self, pod: Pod, size: int) -> Sequence[Pod | ApiError]:
        try:
            if size == 1:
                return [await self._client.create(PODS, pod)]
            return await self._client.create_many(PODS, [pod] * size)
        except ApiError as error:
            return [error] * size

    def _tell_created(self, replica_set: ReplicaSet, result: Pod | ApiError) -> None:
        if isinstance(result, ApiError):
            if not _is_terminating(result):
                self._event(replica_set, WARNING, "FailedCreate", f"Error creating: {result}")
            return
        message = f"Created pod: {result.metadata.name}"
        self._event(replica_set, NORMAL, "SuccessfulCreate", message)

    async def _delete(
        self, key: ObjectKey, replica_set: ReplicaSet, victims: Sequence[Pod]
    ) -> Exception | None:
        slots = asyncio.Semaphore(DELETE_CONCURRENCY)

        async def delete(pod: Pod) -> ApiError | None:
            async with slots:
                return await self._delete_one(key, replica_set, pod)

        outcomes = await asyncio.gather(*(delete(pod) for pod in victims))
        return next((outcome for outcome in outcomes if outcome is not None), None)

    async def _delete_one(
        self, key: ObjectKey, replica_set: ReplicaSet, pod: Pod
    ) -> ApiError | None:
        meta = pod.metadata
        options = DeleteOptions(preconditions=Preconditions(uid=meta.uid))
        try:
            await self._client.delete(PODS, meta.namespace, meta.name, options)
        except ApiError as error:
            self._expectations.deletion_observed(key, meta.uid)
            if error.reason == "NotFound":
                return None
            self._event(replica_set, WARNING, "FailedDelete", f"Error deleting: {error}")
            return error
        self._event(replica_set, NORMAL, "SuccessfulDelete", f"Deleted pod: {meta.name}")
        return None

    async def _write_status(self, replica_set: ReplicaSet, status: ReplicaSetStatus) -> None:
        """A Conflict is left to the next round: the newer ReplicaSet comes through the cache."""
        if equal(status, replica_set.status):
            return
        changed = ReplicaSet()
        changed.CopyFrom(replica_set)
        changed.status.CopyFrom(status)
        try:
            await self._client.update_status(REPLICASETS, changed)
        except ApiError as error:
            if error.reason != "NotFound":
                raise

    def _event(self, obj: ReplicaSet, event_type: str, reason: str, message: str) -> None:
        self._recorder.event(REPLICASETS, obj, event_type, reason, message)


def _is_terminating(error: ApiError) -> bool:
    """A namespace that is being deleted takes no Pods: nothing to complain about."""
    return any(cause.reason == NAMESPACE_TERMINATING for cause in error.status.details.causes)
