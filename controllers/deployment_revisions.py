"""Which ReplicaSet is which version of a Deployment, and the annotations that say so. Pure.

Source: k8s.io/kubernetes pkg/controller/deployment/util/deployment_util.go,
pkg/controller/controller_utils.go (ComputeHash), k8s.io/apimachinery pkg/util/rand.
"""

from collections.abc import Iterable, Sequence

from controllers.deployment_sizes import max_surge, replicas_of
from controllers.ownership import controller_reference
from controllers.semantics import equal
from podpath.api.scheme import DEPLOYMENTS
from protos.k8s.apps_v1_pb2 import Deployment, ReplicaSet
from protos.k8s.core_v1_pb2 import PodTemplateSpec

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED_REPLICAS = "deployment.kubernetes.io/desired-replicas"
MAX_REPLICAS = "deployment.kubernetes.io/max-replicas"

# What belongs to the one object and is not copied from Deployment to ReplicaSet.
_NOT_COPIED = frozenset(
    {
        "kubectl.kubernetes.io/last-applied-configuration",
        REVISION,
        REVISION_HISTORY,
        DESIRED_REPLICAS,
        MAX_REPLICAS,
        "deprecated.deployment.rollback.to",
    }
)
_REVISION_HISTORY_LIMIT = 2000
_SAFE_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


def template_hash(template: PodTemplateSpec, collision_count: int | None) -> str:
    """A short name for a Pod template, from letters that spell no words.

    Upstream hashes Go's print of the struct, which nothing but Go can repeat; the value differs
    from upstream's, its form and stability do not. `collision_count` gives another value for a
    template whose hash is taken by another.
    """
    data = template.SerializeToString(deterministic=True)
    if collision_count is not None:
        data += collision_count.to_bytes(8, "little")
    return "".join(_SAFE_ALPHABET[ord(c) % len(_SAFE_ALPHABET)] for c in str(_fnv32a(data)))


def _fnv32a(data: bytes) -> int:
    value = 0x811C9DC5
    for byte in data:
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return value


def same_template(one: PodTemplateSpec, other: PodTemplateSpec) -> bool:
    """True if the templates are the same but for the hash label."""
    a, b = PodTemplateSpec(), PodTemplateSpec()
    a.CopyFrom(one)
    b.CopyFrom(other)
    a.metadata.labels.pop(HASH_LABEL, None)
    b.metadata.labels.pop(HASH_LABEL, None)
    return equal(a, b)


def find_new(deployment: Deployment, sets: Iterable[ReplicaSet]) -> ReplicaSet | None:
    """The ReplicaSet of the present template: the oldest, should there be several."""
    for replica_set in sorted(sets, key=creation_order):
        if same_template(replica_set.spec.template, deployment.spec.template):
            return replica_set
    return None


def creation_order(replica_set: ReplicaSet) -> tuple[int, str]:
    return (replica_set.metadata.creationTimestamp.seconds, replica_set.metadata.name)


def revision_of(replica_set: ReplicaSet) -> int:
    """0 when there is none, or none that is a number."""
    text = annotation(replica_set, REVISION)
    return int(text) if text.isdecimal() else 0


def next_revision(old: Iterable[ReplicaSet]) -> int:
    return max(map(revision_of, old), default=0) + 1


def annotation(obj: ReplicaSet | Deployment, name: str) -> str:
    annotations = obj.metadata.annotations
    return annotations.get(name, "")


def new_replica_set(deployment: Deployment, replicas: int, revision: int) -> ReplicaSet:
    """The ReplicaSet that a Deployment makes for its present template."""
    status = deployment.status
    collisions = status.collisionCount if status.HasField("collisionCount") else None
    value = template_hash(deployment.spec.template, collisions)
    result = ReplicaSet()
    meta = result.metadata
    meta.name = f"{deployment.metadata.name}-{value}"
    meta.namespace = deployment.metadata.namespace
    meta.ownerReferences.append(controller_reference(DEPLOYMENTS, deployment))
    spec = result.spec
    spec.replicas = replicas
    spec.minReadySeconds = deployment.spec.minReadySeconds
    spec.selector.CopyFrom(deployment.spec.selector)
    spec.selector.matchLabels[HASH_LABEL] = value
    spec.template.CopyFrom(deployment.spec.template)
    spec.template.metadata.labels[HASH_LABEL] = value
    meta.labels.update(spec.template.metadata.labels)
    annotate(deployment, result, revision)
    annotate_sizes(deployment, result)
    return result


def annotate(deployment: Deployment, replica_set: ReplicaSet, revision: int) -> bool:
    """Brings the ReplicaSet's annotations up to the Deployment's; True when that changed any."""
    annotations = replica_set.metadata.annotations
    changed = False
    for name, value in deployment.metadata.annotations.items():
        if name not in _NOT_COPIED and (name not in annotations or annotations[name] != value):
            annotations[name] = value
            changed = True
    old = revision_of(replica_set)
    if old >= revision:
        return changed
    if old:
        annotations[REVISION_HISTORY] = _with_history(
            annotation(replica_set, REVISION_HISTORY), str(old)
        )
    annotations[REVISION] = str(revision)
    return True


def annotate_sizes(deployment: Deployment, replica_set: ReplicaSet) -> bool:
    """Notes the Deployment's size, by which later proportional scaling counts; True if changed."""
    replicas = replicas_of(deployment)
    wanted = {
        DESIRED_REPLICAS: str(replicas),
        MAX_REPLICAS: str(replicas + max_surge(deployment)),
    }
    if all(annotation(replica_set, name) == value for name, value in wanted.items()):
        return False
    replica_set.metadata.annotations.update(wanted)
    return True


def _with_history(history: str, revision: str) -> str:
    revisions = [*filter(None, history.split(",")), revision]
    while len(",".join(revisions)) > _REVISION_HISTORY_LIMIT:
        revisions.pop(0)
    return ",".join(revisions)


def expendable(deployment: Deployment, old: Sequence[ReplicaSet]) -> list[ReplicaSet]:
    """The oldest revisions beyond `spec.revisionHistoryLimit` that hold nothing any more."""
    spec = deployment.spec
    if not spec.HasField("revisionHistoryLimit"):
        return []
    alive = [rs for rs in old if not rs.metadata.HasField("deletionTimestamp")]
    surplus = len(alive) - spec.revisionHistoryLimit
    oldest = sorted(alive, key=lambda rs: (revision_of(rs), creation_order(rs)))[: max(0, surplus)]
    return [
        rs
        for rs in oldest
        if not rs.status.replicas
        and not replicas_of(rs)
        and rs.metadata.generation <= rs.status.observedGeneration
    ]
