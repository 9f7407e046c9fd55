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

from controllers import deployment_revisions as revisions
from controllers import deployment_sizes as sizes
from controllers import deployment_status as progress
from controllers import ownership
from controllers.deployment_rollout import Rollout, Writer
from controllers.ownership import orphans_by_namespace
from controllers.pods import is_finished
from controllers.reconciler import Context, Loop, Requeue
from podpath.api.scheme import DEPLOYMENTS, PODS, REPLICASETS
from podpath.client.event_recorder import WARNING
from podpath.client.informer import (
    Handlers,
    ObjectKey,
    by_controller_uid,
    controller_of,
    key_of,
)
from protos.k8s.apps_v1_pb2 import Deployment, ReplicaSet
from protos.k8s.core_v1_pb2 import Pod
from protos.k8s.meta_v1_pb2 import ObjectMeta

NAME = "deployment-controller"


class DeploymentController:
    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._writer = Writer(context.client, context.clock, context.recorder(NAME))
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
            await rollout.write_status(rollout.counts())
            return None
        await rollout.note_pause()
        if deployment.spec.paused or sizes.is_scaling(deployment, sets):
            await self._resize_only(rollout)
        elif sizes.is_rolling(deployment):
            await self._roll(rollout)
        else:
            await self._recreate(rollout)
        wait = progress.deadline_in(
            rollout.deployment, rollout.deployment.status, self._writer.now_s()
        )
        return Requeue(wait) if wait is not None else None

    def _sort(self, deployment: Deployment, sets: Sequence[ReplicaSet]) -> Rollout:
        new = revisions.find_new(deployment, sets)
        old = [rs for rs in sets if new is None or rs.metadata.uid != new.metadata.uid]
        return Rollout(self._writer, deployment, new, old)

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
        self._writer.event(deployment, WARNING, "SelectingAll", message)
        if deployment.status.observedGeneration < deployment.metadata.generation:
            deployment.status.observedGeneration = deployment.metadata.generation
            await self._client.update_status(DEPLOYMENTS, deployment)

    async def _resize_only(self, rollout: Rollout) -> None:
        await rollout.adopt_new()
        await rollout.resize(sizes.scale(rollout.deployment, rollout.new, rollout.old))
        if rollout.deployment.spec.paused:
            await rollout.clean_up()
        await rollout.write_status(rollout.counts())

    async def _roll(self, rollout: Rollout) -> None:
        new = await rollout.ensure_new()
        wanted = sizes.size_of_new(rollout.deployment, rollout.old, sizes.replicas_of(new))
        if not await rollout.resize([sizes.Resize(new, wanted)], notes=False):
            await self._shrink_old(rollout)
        await rollout.finish()

    async def _shrink_old(self, rollout: Rollout) -> None:
        if rollout.new is not None and sizes.total_replicas(rollout.old):
            decided = sizes.shrink_old(rollout.deployment, rollout.new, rollout.old)
            await rollout.resize(decided)

    async def _recreate(self, rollout: Rollout) -> None:
        await rollout.adopt_new()
        busy = sizes.active(rollout.old)
        if busy:
            await rollout.resize([sizes.Resize(rs, 0) for rs in busy])
        elif not self._old_pods_run(rollout):
            new = await rollout.ensure_new()
            wanted = sizes.replicas_of(rollout.deployment)
            await rollout.resize([sizes.Resize(new, wanted)], notes=False)
        await rollout.finish()

    def _old_pods_run(self, rollout: Rollout) -> bool:
        return any(
            rs.status.replicas > 0
            or any(
                not is_finished(pod) for pod in self._pods.by_index("controller", rs.metadata.uid)
            )
            for rs in rollout.old
        )
