"""One object on its way to being created: its uid and, if it is a Pod, the trace of its creation.

A trace context comes from the client's request (header or metadata `traceparent`) or starts here.
As upstream has it, only privileged users' contexts are parents: others could make the server
sample whatever they send, so their traces are linked instead.

Source: k8s.io/apiserver pkg/endpoints/filters/traces.go (WithTracing, notSystemPrivilegedGroup),
k8s.io/component-base tracing/utils.go (NewProvider: ParentBased over TraceIDRatioBased).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from apiserver.verbs.interface import Target, UserInfo, Version, WriteOptions
from podpath.api.scheme import PODS
from podpath.component_base import traceparent
from podpath.component_base.pod_trace import PodStep, stamp
from podpath.component_base.traceparent import TRACEPARENT_ANNOTATION, Traceparent

_TRUSTED_GROUPS = frozenset({"system:masters", "system:monitoring"})


@dataclass(frozen=True, slots=True)
class Tracing:
    """Which creations of Pods are sampled, and whether the Pods say so themselves."""

    enabled: bool = False
    rate_per_million: int = 0
    annotates: bool = True


NO_TRACING = Tracing()


@dataclass(frozen=True, slots=True)
class Creation:
    """What a request is about to create. `context` holds, as an annotation, the trace context of a
    Pod that is sampled; it is empty for everything else."""

    uid: str
    is_pod: bool = False
    context: Mapping[str, str] = field(default_factory=dict)
    annotates: bool = False

    def stamp(self, step: PodStep, decision: str = "") -> None:
        """A step of the Pod's path; nothing for other kinds."""
        if self.is_pod:
            stamp(step, self.uid, decision, self.context)

    def authorized(self, user: UserInfo) -> None:
        self.stamp(PodStep.AUTHORIZED, user.name)

    def responded(self, version: Version) -> None:
        """The client is answered with `version`."""
        if self.is_pod:
            meta = version.object.metadata  # type: ignore[attr-defined]
            self.stamp(PodStep.RESPONDED, f"{meta.namespace}/{meta.name}")

    def annotate(self, obj: Any) -> None:
        """Gives a Pod its own trace context. What is there comes from a template or from another
        Pod's manifest, and would join strangers' traces: it goes, sampled or not."""
        if not self.is_pod:
            return
        annotations = obj.metadata.annotations
        annotations.pop(TRACEPARENT_ANNOTATION, None)
        if self.annotates:
            annotations.update(self.context)


def begin(
    uid: str, user: UserInfo, target: Target, options: WriteOptions, tracing: Tracing
) -> Creation:
    """A request arrived that creates `target`, if all goes well: a Pod's trace starts here."""
    if target.resource is not PODS or target.subresource:
        return Creation(uid)
    client = root = None
    if tracing.enabled and not options.dry_run:
        client = traceparent.parse(options.traceparent)
        root = _root(uid, user, client, tracing)
    if root is None:
        creation = Creation(uid, is_pod=True)
    else:
        context = {TRACEPARENT_ANNOTATION: str(root)}
        creation = Creation(uid, True, context, tracing.annotates)
    creation.stamp(PodStep.REQUEST_RECEIVED, str(client or ""))
    return creation


def _root(
    uid: str, user: UserInfo, client: Traceparent | None, tracing: Tracing
) -> Traceparent | None:
    trusted = not _TRUSTED_GROUPS.isdisjoint(user.groups)
    return traceparent.root_of(uid, client if trusted else None, tracing.rate_per_million)
