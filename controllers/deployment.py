"""Brings a Deployment's Pods to its present template, by way of one ReplicaSet for each version.

1. Claim the ReplicaSets; tell the new one (of the present template) from the old ones.
2. Paused, or its size changed: only sizes are adjusted.
3. Else the strategy takes one step: RollingUpdate grows the new one and shrinks the old ones
   within maxSurge and maxUnavailable; Recreate empties the old ones first.
4. The status tells how far it is; whatever changes next brings the Deployment here again.

Source: k8s.io/kubernetes pkg/controller/deployment (deployment_controller.go, sync.go, rolling.go,
recreate.go).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from controllers import deployment_revisions as revisions
from controllers import deployment_sizes as sizes
from controllers import deployment_status as progress
from controllers import ownership
from controllers.ownership import orphans_by_namespace
from controllers.pods import is_finished
from controllers.reconciler import Context, Loop, Requeue
from controllers.semantics import equal
from podpath.api.errors import ApiError
from podpath.api.scheme import DEPLOYMENTS, PODS, REPLICASETS
from podpath.client.event_recorder import NORMAL, WARNING
from podpath.client.informer import (
    Handlers,
    ObjectKey,
    by_controller_uid,
    controller_of,
    key_of,
)
from protos.k8s.apps_v1_pb2 import Deployment, DeploymentStatus, ReplicaSet
from protos.k8s.core_v1_pb2 import Pod
from protos.k8s.meta_v1_pb2 import DeleteOptions, ObjectMeta, Preconditions

NAME = "deployment-controller"


@dataclass(slots=True)
class _Rollout:
    """One round's own copies; each write replaces what it wrote."""

    deployment: Deployment
    new: ReplicaSet | None
    old: list[ReplicaSet]

    @property
    def sets(self) -> list[ReplicaSet]:
        return [*self.old, *([self.new] if self.new is not None else [])]

    def replace(self, updated: ReplicaSet) -> None:
        uid = updated.metadata.uid
        if self.new is not None and self.new.metadata.uid == uid:
            self.new = updated
        else:
            self.old = [updated if rs.metadata.uid == uid else rs for rs in self.old]


class DeploymentController:
    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._recorder = context.recorder(NAME)
        deployments = context.informers.informer(DEPLOYMENTS)
        sets = context.informers.informer(REPLICASETS)
        pods = context.informers.informer(PODS)
        self._deployments, self._sets, self._pods = deployments.store, sets.store, pods.store
        for informer in (sets, pods):
            informer.add_index("controller", by_controller_uid)
        sets.add_index("orphans", orphans_by_namespace)
        self._loop: Loop[ObjectKey] = Loop(
            NAME, self.reconcile, clock=context.clock, wait_for=(deployments, sets, pods)
        )
        deployments.add_handlers(
            Handlers(self._enqueue, lambda _, new: self._enqueue(new), self._enqueue)
        )
        sets.add_handlers(Handlers(self._set_added, self._set_updated, self._set_deleted))
        pods.add_handlers(Handlers(on_delete=self._pod_deleted))

    async def run(self) -> None:
        await self._loop.run()

    # Handlers

    def _enqueue(self, deployment: Deployment) -> None:
        self._loop.queue.add(key_of(deployment))

    def _set_added(self, replica_set: ReplicaSet) -> None:
        owner = self._owner_of(replica_set.metadata)
        if owner is not None:
            self._enqueue(owner)
        elif controller_of(replica_set.metadata) is None:
            self._enqueue_matching(replica_set)

    def _set_updated(self, old: ReplicaSet, new: ReplicaSet) -> None:
        before, after = controller_of(old.metadata), controller_of(new.metadata)
        if before is not None and (after is None or after.uid != before.uid):
            former = self._owner_of(old.metadata)
            if former is not None:
                self._enqueue(former)
        self._set_added(new)

    def _set_deleted(self, replica_set: ReplicaSet) -> None:
        owner = self._owner_of(replica_set.metadata)
        if owner is not None:
            self._enqueue(owner)

    def _pod_deleted(self, pod: Pod) -> None:
        """Recreate waits until the last old Pod is really gone."""
        reference = controller_of(pod.metadata)
        if reference is None or reference.kind != REPLICASETS.kind:
            return
        replica_set = self._sets.get(pod.metadata.namespace, reference.name)
        owner = self._owner_of(replica_set.metadata) if replica_set is not None else None
        if owner is not None and not sizes.is_rolling(owner):
            self._enqueue(owner)

    def _owner_of(self, meta: ObjectMeta) -> Deployment | None:
        reference = controller_of(meta)
        if reference is None or reference.kind != DEPLOYMENTS.kind:
            return None
        owner = self._deployments.get(meta.namespace, reference.name)
        return owner if owner is not None and owner.metadata.uid == reference.uid else None

    def _enqueue_matching(self, replica_set: ReplicaSet) -> None:
        labels = replica_set.metadata.labels
        for deployment in self._deployments.list(replica_set.metadata.namespace):
            selector = deployment.spec.selector
            if not ownership.is_empty(selector) and ownership.matcher(selector)(labels):
                self._enqueue(deployment)

    # Reconcile

    async def reconcile(self, key: ObjectKey) -> Requeue | None:
        cached = self._deployments.get(*key)
        if cached is None:
            return None
        deployment = Deployment()
        deployment.CopyFrom(cached)
        if ownership.is_empty(deployment.spec.selector):
            await self._refuse(deployment)
            return None
        sets = await self._claim_sets(deployment)
        rollout = self._sort(deployment, sets)
        if deployment.metadata.HasField("deletionTimestamp"):
            await self._write_status(rollout, self._counts(rollout))
            return None
        await self._note_pause(rollout)
        if deployment.spec.paused or sizes.is_scaling(deployment, sets):
            await self._resize_only(rollout)
        elif sizes.is_rolling(deployment):
            await self._roll(rollout)
        else:
            await self._recreate(rollout)
        wait = progress.deadline_in(rollout.deployment, rollout.deployment.status, self._now_s())
        return Requeue(wait) if wait is not None else None

    def _sort(self, deployment: Deployment, sets: Sequence[ReplicaSet]) -> _Rollout:
        new = revisions.find_new(deployment, sets)
        old = [rs for rs in sets if new is None or rs.metadata.uid != new.metadata.uid]
        return _Rollout(deployment, new, old)

    async def _claim_sets(self, deployment: Deployment) -> list[ReplicaSet]:
        meta = deployment.metadata
        candidates = [
            *self._sets.by_index("controller", meta.uid),
            *self._sets.by_index("orphans", meta.namespace),
        ]
        matches = ownership.matcher(deployment.spec.selector)
        decided = ownership.decide_claims(meta, matches, candidates)
        return await ownership.claim(self._client, DEPLOYMENTS, deployment, REPLICASETS, decided)

    async def _refuse(self, deployment: Deployment) -> None:
        message = "This deployment is selecting all pods. A non-empty selector is required."
        self._event(deployment, WARNING, "SelectingAll", message)
        if deployment.status.observedGeneration < deployment.metadata.generation:
            deployment.status.observedGeneration = deployment.metadata.generation
            await self._client.update_status(DEPLOYMENTS, deployment)

    async def _note_pause(self, rollout: _Rollout) -> None:
        """Time spent paused must not count against the progress deadline."""
        deployment = rollout.deployment
        present = progress.condition_of(deployment.status, progress.PROGRESSING)
        if not progress.has_deadline(deployment) or (
            present is not None and present.reason == progress.DEADLINE_EXCEEDED
        ):
            return
        noted = present is not None and present.reason == progress.PAUSED
        if noted == deployment.spec.paused:
            return
        reason, message = (
            (progress.PAUSED, "Deployment is paused")
            if deployment.spec.paused
            else (progress.RESUMED, "Deployment is resumed")
        )
        status = DeploymentStatus()
        status.CopyFrom(deployment.status)
        progress.set_condition(
            status, progress.PROGRESSING, "Unknown", reason, message, self._now_s()
        )
        await self._write_status(rollout, status)

    async def _resize_only(self, rollout: _Rollout) -> None:
        await self._adopt_new(rollout)
        await self._resize(rollout, sizes.scale(rollout.deployment, rollout.new, rollout.old))
        if rollout.deployment.spec.paused:
            await self._clean_up(rollout)
        await self._write_status(rollout, self._counts(rollout))

    async def _roll(self, rollout: _Rollout) -> None:
        new = await self._ensure_new(rollout)
        wanted = sizes.size_of_new(rollout.deployment, rollout.old, sizes.replicas_of(new))
        if not await self._resize(rollout, [sizes.Resize(new, wanted)], notes=False):
            await self._shrink_old(rollout)
        await self._finish(rollout)

    async def _shrink_old(self, rollout: _Rollout) -> None:
        if rollout.new is not None and sizes.total_replicas(rollout.old):
            decided = sizes.shrink_old(rollout.deployment, rollout.new, rollout.old)
            await self._resize(rollout, decided)

    async def _recreate(self, rollout: _Rollout) -> None:
        await self._adopt_new(rollout)
        busy = sizes.active(rollout.old)
        if busy:
            await self._resize(rollout, [sizes.Resize(rs, 0) for rs in busy])
        elif not self._old_pods_run(rollout):
            new = await self._ensure_new(rollout)
            wanted = sizes.replicas_of(rollout.deployment)
            await self._resize(rollout, [sizes.Resize(new, wanted)], notes=False)
        await self._finish(rollout)

    def _old_pods_run(self, rollout: _Rollout) -> bool:
        return any(
            rs.status.replicas > 0
            or any(
                not is_finished(pod) for pod in self._pods.by_index("controller", rs.metadata.uid)
            )
            for rs in rollout.old
        )

    async def _finish(self, rollout: _Rollout) -> None:
        if progress.is_complete(rollout.deployment, rollout.deployment.status):
            await self._clean_up(rollout)
        status = progress.after_rollout_step(
            rollout.deployment, rollout.sets, rollout.new, self._now_s()
        )
        await self._write_status(rollout, status)

    # The new ReplicaSet

    async def _ensure_new(self, rollout: _Rollout) -> ReplicaSet:
        existing = await self._adopt_new(rollout)
        if existing is not None:
            return existing
        deployment = rollout.deployment
        replicas = sizes.size_of_new(deployment, rollout.old, 0)
        revision = revisions.next_revision(rollout.old)
        wanted = revisions.new_replica_set(deployment, replicas, revision)
        rollout.new = created = await self._create(rollout, wanted)
        await self._note_revision(rollout, str(revision))
        name = created.metadata.name
        await self._note_progress(
            rollout, "True", "NewReplicaSetCreated", f'Created new replica set "{name}"'
        )
        return created

    async def _create(self, rollout: _Rollout, wanted: ReplicaSet) -> ReplicaSet:
        deployment = rollout.deployment
        try:
            created = await self._client.create(REPLICASETS, wanted)
        except ApiError as error:
            if error.reason == "AlreadyExists":
                return await self._take_existing(rollout, wanted, error)
            name = wanted.metadata.name
            message = f'Failed to create new replica set "{name}": {error}'
            self._event(deployment, WARNING, "ReplicaSetCreateError", message)
            await self._note_progress(rollout, "False", "ReplicaSetCreateError", message)
            raise
        replicas = sizes.replicas_of(created)
        if replicas:
            self._tell_scaled(deployment, created.metadata.name, 0, replicas)
        return created

    async def _take_existing(
        self, rollout: _Rollout, wanted: ReplicaSet, error: ApiError
    ) -> ReplicaSet:
        """The name is taken: by our own, which the cache does not show yet, or by a collision."""
        deployment, meta = rollout.deployment, wanted.metadata
        existing = await self._client.get(REPLICASETS, meta.namespace, meta.name)
        reference = controller_of(existing.metadata)
        if (
            reference is not None
            and reference.uid == deployment.metadata.uid
            and revisions.same_template(existing.spec.template, deployment.spec.template)
        ):
            return existing
        status = DeploymentStatus()
        status.CopyFrom(deployment.status)
        status.collisionCount += 1
        await self._write_status(rollout, status)
        raise error

    async def _adopt_new(self, rollout: _Rollout) -> ReplicaSet | None:
        """Brings annotations of an existing new ReplicaSet up to date, and notes its revision."""
        deployment, new = rollout.deployment, rollout.new
        if new is None:
            return None
        changed = ReplicaSet()
        changed.CopyFrom(new)
        revision = revisions.next_revision(rollout.old)
        stale = revisions.annotate(deployment, changed, revision)
        if stale or changed.spec.minReadySeconds != deployment.spec.minReadySeconds:
            changed.spec.minReadySeconds = deployment.spec.minReadySeconds
            new = rollout.new = await self._client.update(REPLICASETS, changed)
        await self._note_revision(rollout, revisions.annotation(new, revisions.REVISION))
        if progress.condition_of(deployment.status, progress.PROGRESSING) is None:
            message = f'Found new replica set "{new.metadata.name}"'
            await self._note_progress(rollout, "True", "FoundNewReplicaSet", message)
        return new

    async def _note_revision(self, rollout: _Rollout, revision: str) -> None:
        deployment = rollout.deployment
        if revisions.annotation(deployment, revisions.REVISION) == revision:
            return
        patch = {"metadata": {"annotations": {revisions.REVISION: revision}}}
        rollout.deployment = await self._client.patch(
            DEPLOYMENTS,
            deployment.metadata.namespace,
            deployment.metadata.name,
            orjson.dumps(patch),
            patch_type="application/merge-patch+json",
        )

    async def _note_progress(
        self, rollout: _Rollout, value: str, reason: str, message: str
    ) -> None:
        deployment = rollout.deployment
        if not progress.has_deadline(deployment):
            return
        status = DeploymentStatus()
        status.CopyFrom(deployment.status)
        progress.set_condition(status, progress.PROGRESSING, value, reason, message, self._now_s())
        await self._write_status(rollout, status)

    # Writes

    async def _resize(
        self, rollout: _Rollout, decided: Sequence[sizes.Resize], *, notes: bool = True
    ) -> bool:
        """Stores sizes that differ (with `notes` also size annotations); True if any size did."""
        deployment, any_resized = rollout.deployment, False
        for resize in decided:
            before = sizes.replicas_of(resize.replica_set)
            changed = ReplicaSet()
            changed.CopyFrom(resize.replica_set)
            noted = revisions.annotate_sizes(deployment, changed)
            resized = before != resize.replicas
            if not resized and not (notes and noted):
                continue
            changed.spec.replicas = resize.replicas
            rollout.replace(await self._client.update(REPLICASETS, changed))
            if resized:
                any_resized = True
                name = resize.replica_set.metadata.name
                self._tell_scaled(deployment, name, before, resize.replicas)
        return any_resized

    def _tell_scaled(self, deployment: Deployment, name: str, before: int, after: int) -> None:
        direction = "up" if after > before else "down"
        message = f"Scaled {direction} replica set {name} from {before} to {after}"
        self._event(deployment, NORMAL, "ScalingReplicaSet", message)

    async def _clean_up(self, rollout: _Rollout) -> None:
        for rs in revisions.expendable(rollout.deployment, rollout.old):
            options = DeleteOptions(preconditions=Preconditions(uid=rs.metadata.uid))
            try:
                await self._client.delete(
                    REPLICASETS, rs.metadata.namespace, rs.metadata.name, options
                )
            except ApiError as error:
                if error.reason != "NotFound":
                    raise

    def _counts(self, rollout: _Rollout) -> DeploymentStatus:
        return progress.counts(rollout.deployment, rollout.sets, rollout.new, self._now_s())

    async def _write_status(self, rollout: _Rollout, status: DeploymentStatus) -> None:
        if equal(status, rollout.deployment.status):
            return
        changed = Deployment()
        changed.CopyFrom(rollout.deployment)
        changed.status.CopyFrom(status)
        rollout.deployment = await self._client.update_status(DEPLOYMENTS, changed)

    def _event(self, obj: Deployment, event_type: str, reason: str, message: str) -> None:
        self._recorder.event(DEPLOYMENTS, obj, event_type, reason, message)

    def _now_s(self) -> float:
        return self._clock.now().timestamp()
