"""One round on one Deployment: what it holds, and the writes that change it.

Source: k8s.io/kubernetes pkg/controller/deployment/sync.go (getNewReplicaSet,
scaleReplicaSet, cleanupDeployment), progress.go.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from controllers import deployment_revisions as revisions
from controllers import deployment_sizes as sizes
from controllers import deployment_status as progress
from controllers.semantics import equal
from podpath.api.errors import ApiError
from podpath.api.scheme import DEPLOYMENTS, REPLICASETS
from podpath.client.event_recorder import NORMAL, WARNING, EventRecorder
from podpath.client.informer import controller_of
from podpath.client.interface import Client
from podpath.component_base.clock import Clock
from protos.k8s.apps_v1_pb2 import Deployment, DeploymentStatus, ReplicaSet
from protos.k8s.meta_v1_pb2 import DeleteOptions, Preconditions


@dataclass(frozen=True, slots=True)
class Writer:
    """What a round writes with."""

    client: Client
    clock: Clock
    recorder: EventRecorder

    def now_s(self) -> float:
        """Unix time in seconds."""
        return self.clock.now().timestamp()

    def event(self, obj: Deployment, event_type: str, reason: str, message: str) -> None:
        self.recorder.event(DEPLOYMENTS, obj, event_type, reason, message)


@dataclass(slots=True)
class Rollout:
    """One round's own copies; each write replaces what it wrote. Every write may raise ApiError,
    which ends the round: the next one begins from what is stored then."""

    writer: Writer
    deployment: Deployment
    new: ReplicaSet | None
    old: list[ReplicaSet]

    @property
    def sets(self) -> list[ReplicaSet]:
        return [*self.old, *([self.new] if self.new is not None else [])]

    async def ensure_new(self) -> ReplicaSet:
        """The ReplicaSet of the present template, made if there is none."""
        existing = await self.adopt_new()
        if existing is not None:
            return existing
        deployment = self.deployment
        replicas = sizes.size_of_new(deployment, self.old, 0)
        revision = revisions.next_revision(self.old)
        wanted = revisions.new_replica_set(deployment, replicas, revision)
        self.new = created = await self._create(wanted)
        await self._note_revision(str(revision))
        name = created.metadata.name
        await self.note_progress(
            "True", "NewReplicaSetCreated", f'Created new replica set "{name}"'
        )
        return created

    async def _create(self, wanted: ReplicaSet) -> ReplicaSet:
        deployment = self.deployment
        try:
            created = await self.writer.client.create(REPLICASETS, wanted)
        except ApiError as error:
            if error.reason == "AlreadyExists":
                return await self._take_existing(wanted, error)
            name = wanted.metadata.name
            message = f'Failed to create new replica set "{name}": {error}'
            self.writer.event(deployment, WARNING, "ReplicaSetCreateError", message)
            await self.note_progress("False", "ReplicaSetCreateError", message)
            raise
        replicas = sizes.replicas_of(created)
        if replicas:
            self._tell_scaled(deployment, created.metadata.name, 0, replicas)
        return created

    async def _take_existing(self, wanted: ReplicaSet, error: ApiError) -> ReplicaSet:
        """The name is taken: by our own, which the cache does not show yet, or by a collision."""
        deployment, meta = self.deployment, wanted.metadata
        existing = await self.writer.client.get(REPLICASETS, meta.namespace, meta.name)
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
        await self.write_status(status)
        raise error

    async def adopt_new(self) -> ReplicaSet | None:
        """Brings annotations of an existing new ReplicaSet up to date, and notes its revision."""
        deployment, new = self.deployment, self.new
        if new is None:
            return None
        changed = ReplicaSet()
        changed.CopyFrom(new)
        revision = revisions.next_revision(self.old)
        stale = revisions.annotate(deployment, changed, revision)
        if stale or changed.spec.minReadySeconds != deployment.spec.minReadySeconds:
            changed.spec.minReadySeconds = deployment.spec.minReadySeconds
            new = self.new = await self.writer.client.update(REPLICASETS, changed)
        await self._note_revision(revisions.annotation(new, revisions.REVISION))
        if progress.condition_of(deployment.status, progress.PROGRESSING) is None:
            message = f'Found new replica set "{new.metadata.name}"'
            await self.note_progress("True", "FoundNewReplicaSet", message)
        return new

    async def _note_revision(self, revision: str) -> None:
        deployment = self.deployment
        if revisions.annotation(deployment, revisions.REVISION) == revision:
            return
        patch = {"metadata": {"annotations": {revisions.REVISION: revision}}}
        self.deployment = await self.writer.client.patch(
            DEPLOYMENTS,
            deployment.metadata.namespace,
            deployment.metadata.name,
            orjson.dumps(patch),
            patch_type="application/merge-patch+json",
        )

    async def note_progress(self, value: str, reason: str, message: str) -> None:
        deployment = self.deployment
        if not progress.has_deadline(deployment):
            return
        status = DeploymentStatus()
        status.CopyFrom(deployment.status)
        progress.set_condition(
            status, progress.PROGRESSING, value, reason, message, self.writer.now_s()
        )
        await self.write_status(status)

    async def resize(self, decided: Sequence[sizes.Resize], *, notes: bool = True) -> bool:
        """Stores sizes that differ (with `notes` also size annotations); True if any size did."""
        deployment, any_resized = self.deployment, False
        for resize in decided:
            before = sizes.replicas_of(resize.replica_set)
            changed = ReplicaSet()
            changed.CopyFrom(resize.replica_set)
            noted = revisions.annotate_sizes(deployment, changed)
            resized = before != resize.replicas
            if not resized and not (notes and noted):
                continue
            changed.spec.replicas = resize.replicas
            self._replace(await self.writer.client.update(REPLICASETS, changed))
            if resized:
                any_resized = True
                name = resize.replica_set.metadata.name
                self._tell_scaled(deployment, name, before, resize.replicas)
        return any_resized

    def _tell_scaled(self, deployment: Deployment, name: str, before: int, after: int) -> None:
        direction = "up" if after > before else "down"
        message = f"Scaled {direction} replica set {name} from {before} to {after}"
        self.writer.event(deployment, NORMAL, "ScalingReplicaSet", message)

    async def clean_up(self) -> None:
        """Deletes old ReplicaSets beyond the history limit."""
        for rs in revisions.expendable(self.deployment, self.old):
            options = DeleteOptions(preconditions=Preconditions(uid=rs.metadata.uid))
            try:
                await self.writer.client.delete(
                    REPLICASETS, rs.metadata.namespace, rs.metadata.name, options
                )
            except ApiError as error:
                if error.reason != "NotFound":
                    raise

    def counts(self) -> DeploymentStatus:
        """The status as the ReplicaSets are now, without a judgement on progress."""
        return progress.counts(self.deployment, self.sets, self.new, self.writer.now_s())

    async def write_status(self, status: DeploymentStatus) -> None:
        """Stores the status when it differs."""
        if equal(status, self.deployment.status):
            return
        changed = Deployment()
        changed.CopyFrom(self.deployment)
        changed.status.CopyFrom(status)
        self.deployment = await self.writer.client.update_status(DEPLOYMENTS, changed)

    async def finish(self) -> None:
        """Ends a step of a rollout: the status, and once all is done the history."""
        if progress.is_complete(self.deployment, self.deployment.status):
            await self.clean_up()
        status = progress.after_rollout_step(
            self.deployment, self.sets, self.new, self.writer.now_s()
        )
        await self.write_status(status)

    async def note_pause(self) -> None:
        """Time spent paused must not count against the progress deadline."""
        deployment = self.deployment
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
            status, progress.PROGRESSING, "Unknown", reason, message, self.writer.now_s()
        )
        await self.write_status(status)

    def _replace(self, updated: ReplicaSet) -> None:
        uid = updated.metadata.uid
        if self.new is not None and self.new.metadata.uid == uid:
            self.new = updated
        else:
            self.old = [updated if rs.metadata.uid == uid else rs for rs in self.old]
