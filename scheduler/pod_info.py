"""A Pod and what is computed of it once.

Source: pkg/scheduler/framework/types.go (PodInfo, AffinityTerm).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from podpath.api import selectors
from podpath.api.host_ports import host_ports
from podpath.api.label_lexer import SelectorError
from podpath.api.selectors import LabelSelector, Operator, Requirement
from protos.k8s.core_v1_pb2 import Affinity, Pod, PodAffinityTerm, Volume
from scheduler.resources import pod_requests

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class AffinityTerm:
    """A pod (anti-)affinity term: Pods of these namespaces with these labels, by topology."""

    namespaces: frozenset[str]
    namespace_selector: LabelSelector
    selector: LabelSelector
    topology_key: str

    def matches(self, pod: "PodInfo", namespace_labels: Mapping[str, str] | None) -> bool:
        """`namespace_labels` are those of the Pod's namespace; None where it is unknown."""
        if pod.key[0] not in self.namespaces and not self.namespace_selector.matches(
            namespace_labels or {}
        ):
            return False
        return self.selector.matches(pod.labels)

    def with_namespaces(self, names: Iterable[str]) -> "AffinityTerm":
        """The same with its namespace selector looked up."""
        return replace(
            self, namespaces=self.namespaces | set(names), namespace_selector=selectors.NOTHING
        )


@dataclass(frozen=True, slots=True)
class WeightedTerm:
    term: AffinityTerm
    weight: int


@dataclass(frozen=True, slots=True)
class PodTerms:
    """All inter-pod terms of a Pod. `error` is set when a selector cannot be understood."""

    required_affinity: tuple[AffinityTerm, ...] = ()
    required_anti_affinity: tuple[AffinityTerm, ...] = ()
    preferred_affinity: tuple[WeightedTerm, ...] = ()
    preferred_anti_affinity: tuple[WeightedTerm, ...] = ()
    error: str = ""

    @property
    def any(self) -> bool:
        return bool(
            self.required_affinity
            or self.required_anti_affinity
            or self.preferred_affinity
            or self.preferred_anti_affinity
        )


_NO_TERMS = PodTerms()


class PodInfo:
    """A Pod and what is computed of it once. The message is shared: read-only."""

    __slots__ = (
        "_signature",
        "claims",
        "host_ports",
        "is_terminating",
        "key",
        "labels",
        "nonzero_request",
        "pod",
        "priority",
        "request",
        "terms",
        "uid",
    )

    def __init__(self, pod: Pod) -> None:
        meta, spec = pod.metadata, pod.spec
        self.pod = pod
        self.uid = meta.uid
        self.key = (meta.namespace, meta.name)
        self.labels: dict[str, str] = dict(meta.labels)
        self.priority = spec.priority
        self.is_terminating = meta.HasField("deletionTimestamp")
        self.request, self.nonzero_request = pod_requests(pod)
        self.host_ports = tuple(host_ports(pod))
        self.claims = tuple(claims_of(pod)) if spec.volumes else ()
        self.terms = self._parse_terms(pod)
        self._signature: tuple[object, ...] | None = None

    def on(self, node_name: str) -> "PodInfo":
        """The Pod as one that has this node; an assumed Pod's message does not say so yet."""
        if self.pod.spec.nodeName == node_name:
            return self
        placed = Pod()
        placed.CopyFrom(self.pod)
        placed.spec.nodeName = node_name
        return PodInfo(placed)

    def _parse_terms(self, pod: Pod) -> PodTerms:
        if not pod.spec.HasField("affinity"):
            return _NO_TERMS
        affinity = pod.spec.affinity
        if not (affinity.HasField("podAffinity") or affinity.HasField("podAntiAffinity")):
            return _NO_TERMS
        return _terms(
            affinity.SerializeToString(deterministic=True),
            self.key[0],
            tuple(sorted(self.labels.items())),
        )

    @property
    def signature(self) -> tuple[object, ...]:
        """Equal for Pods between which no plugin can tell a difference, names and uids aside."""
        if self._signature is None:
            self._signature = _signature(self)
        return self._signature


@lru_cache(maxsize=4096)
def _terms(affinity: bytes, namespace: str, labels: Labels) -> PodTerms:
    message = Affinity.FromString(affinity)
    own = dict(labels)
    near, away = message.podAffinity, message.podAntiAffinity
    try:
        return PodTerms(
            tuple(
                _term(t, namespace, own)
                for t in near.requiredDuringSchedulingIgnoredDuringExecution
            ),
            tuple(
                _term(t, namespace, own)
                for t in away.requiredDuringSchedulingIgnoredDuringExecution
            ),
            tuple(
                WeightedTerm(_term(t.podAffinityTerm, namespace, own), t.weight)
                for t in near.preferredDuringSchedulingIgnoredDuringExecution
            ),
            tuple(
                WeightedTerm(_term(t.podAffinityTerm, namespace, own), t.weight)
                for t in away.preferredDuringSchedulingIgnoredDuringExecution
            ),
        )
    except SelectorError as error:
        return PodTerms(error=f"parsing pod: {error}")


def _term(term: PodAffinityTerm, namespace: str, own: Mapping[str, str]) -> AffinityTerm:
    names = frozenset(term.namespaces)
    has_selector = term.HasField("namespaceSelector")
    if not names and not has_selector:
        names = frozenset((namespace,))
    selector = selectors.from_message(
        term.labelSelector if term.HasField("labelSelector") else None
    )
    # The API server writes these keys into the selector; saying it twice changes nothing.
    selector = with_label_keys(selector, term.matchLabelKeys, own, Operator.IN)
    selector = with_label_keys(selector, term.mismatchLabelKeys, own, Operator.NOT_IN)
    return AffinityTerm(
        names,
        selectors.from_message(term.namespaceSelector if has_selector else None),
        selector,
        term.topologyKey,
    )


def with_label_keys(
    selector: LabelSelector, keys: Iterable[str], own: Mapping[str, str], operator: Operator
) -> LabelSelector:
    """The selector and, for each of the keys that the Pod has, a demand on its own value."""
    added = tuple(Requirement(key, operator, frozenset((own[key],))) for key in keys if key in own)
    if not added or selector.nothing:
        return selector
    return LabelSelector(selector.requirements + added)


def claims_of(pod: Pod) -> list[tuple[str, str]]:
    """(namespace, name) of the claims that the Pod's volumes name."""
    return [
        (pod.metadata.namespace, volume.volumeSource.persistentVolumeClaim.claimName)
        for volume in pod.spec.volumes
        if volume.volumeSource.HasField("persistentVolumeClaim")
    ]


_LOCAL_VOLUMES = ("emptyDir", "configMap", "secret", "projected", "downwardAPI", "hostPath")


def needs_volume_plugins(pod: Pod) -> bool:
    """Whether any volume is of a kind that the scheduler's volume plugins look at."""
    return any(not _is_local(volume) for volume in pod.spec.volumes)


def _is_local(volume: Volume) -> bool:
    source = volume.volumeSource
    return any(source.HasField(name) for name in _LOCAL_VOLUMES)


def _signature(info: PodInfo) -> tuple[object, ...]:
    pod, spec = info.pod, info.pod.spec
    request, nonzero = info.request, info.nonzero_request
    owner = next((o.uid for o in pod.metadata.ownerReferences if o.controller), "")
    return (
        info.key[0],
        tuple(sorted(info.labels.items())),
        spec.nodeName,
        (request.milli_cpu, request.memory, request.ephemeral_storage),
        tuple(sorted(request.scalars.items())),
        (nonzero.milli_cpu, nonzero.memory),
        info.host_ports,
        b"".join(t.SerializeToString(deterministic=True) + b"\0" for t in spec.tolerations),
        tuple(sorted(spec.nodeSelector.items())),
        spec.affinity.SerializeToString(deterministic=True) if spec.HasField("affinity") else b"",
        b"".join(
            t.SerializeToString(deterministic=True) + b"\0" for t in spec.topologySpreadConstraints
        ),
        tuple(c.image for c in spec.initContainers),
        tuple(c.image for c in spec.containers),
        owner,
        b"".join(v.SerializeToString(deterministic=True) for v in spec.volumes if not _is_local(v)),
    )
