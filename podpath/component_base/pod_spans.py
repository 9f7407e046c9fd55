"""Spans of Pods' creations, made from the stamps of one process. Pure.

    pod creation                 one in a trace, by the process that received the request
      1 the client's request arrives, 2 ..., 18    one for each stamp, by whoever took the step

A step's span lasts from the process' step before it, for the same Pod, to its stamp. Steps with
which a process takes over from another have nothing before them: they are points in time.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceFlags

from podpath.component_base import traceparent
from podpath.component_base.pod_trace import PodStep, Stamp
from podpath.component_base.traceparent import Traceparent

ROOT_NAME = "pod creation"
CREATION_LIMIT_S = 600
"""A Pod that is not Running after so long: its root span ends with the last step seen."""
PODS_MAX = 20_000

_SCOPE = InstrumentationScope("podpath")
_TAKES_OVER = frozenset(
    {
        PodStep.REQUEST_RECEIVED,
        PodStep.SCHEDULER_SAW,
        PodStep.BOUND,
        PodStep.KUBELET_SAW,
        PodStep.CONTAINER_STARTED,
        PodStep.STATUS_RUNNING,
        PodStep.RECONCILED,
    }
)


@dataclass(slots=True)
class _Part:
    """What this process did for one Pod so far."""

    context: Traceparent
    began_ns: int
    last_ns: int
    attributes: dict[str, str]
    root_open: bool = False
    client: Traceparent | None = None


class SpanBuilder:
    """Keeps, of each Pod being created, when its last step was; nothing else lasts."""

    def __init__(
        self,
        resource: Resource,
        new_span_id: Callable[[], int],
        creation_ends_with: PodStep = PodStep.STATUS_RUNNING,
    ) -> None:
        self._resource = resource
        self._new_span_id = new_span_id
        self._creation_ends_with = creation_ends_with
        self._parts: dict[str, _Part] = {}  # by uid, oldest first

    def build(self, stamps: Iterable[Stamp], now_ns: int) -> list[ReadableSpan]:
        """The spans that end with these stamps, and the roots that wait no longer."""
        spans: list[ReadableSpan] = []
        for stamp in stamps:
            part = self._part_of(stamp)
            if part is None:
                continue
            start_ns = stamp.at_ns if stamp.step in _TAKES_OVER else part.last_ns
            part.last_ns = max(part.last_ns, stamp.at_ns)
            spans.append(self._step(part, stamp, min(start_ns, stamp.at_ns)))
            if stamp.step is PodStep.RESPONDED:
                part.attributes |= _names(stamp.decision)
            if part.root_open and stamp.step is self._creation_ends_with:
                spans.append(self._root(part))
        spans += self._forget(before_ns=now_ns - CREATION_LIMIT_S * 1_000_000_000)
        return spans

    def finish(self) -> list[ReadableSpan]:
        """The roots that are still open; for the process' end."""
        spans = [self._root(part) for part in self._parts.values() if part.root_open]
        self._parts.clear()
        return spans

    def _part_of(self, stamp: Stamp) -> _Part | None:
        """None for what belongs to no creation that this process has seen begin."""
        part = self._parts.get(stamp.uid)
        if part is None and stamp.step in _TAKES_OVER:
            context = traceparent.parse(stamp.traceparent)
            if context is None or not context.sampled:
                return None
            attributes = {"k8s.pod.uid": stamp.uid}
            part = _Part(context, stamp.at_ns, stamp.at_ns, attributes)
            self._parts[stamp.uid] = part
            if stamp.step is PodStep.REQUEST_RECEIVED:
                part.root_open = True
                part.client = traceparent.parse(stamp.decision)
        return part

    def _step(self, part: _Part, stamp: Stamp, start_ns: int) -> ReadableSpan:
        attributes = {
            "k8s.pod.uid": stamp.uid,
            "podpath.step": stamp.step.number,
            "podpath.decision": stamp.decision,
        }
        return ReadableSpan(
            name=f"{stamp.step.number} {stamp.step.meaning}",
            context=_span_context(Traceparent(part.context.trace_id, self._new_span_id())),
            parent=_span_context(part.context, is_remote=True),
            resource=self._resource,
            attributes=attributes,
            start_time=start_ns,
            end_time=stamp.at_ns,
            instrumentation_scope=_SCOPE,
        )

    def _root(self, part: _Part) -> ReadableSpan:
        part.root_open = False
        client = _span_context(part.client, is_remote=True) if part.client is not None else None
        # A client that is not trusted has not become the parent: the trace is another one.
        is_parent = part.client is not None and part.client.trace_id == part.context.trace_id
        return ReadableSpan(
            name=ROOT_NAME,
            context=_span_context(part.context),
            parent=client if is_parent else None,
            links=() if is_parent or client is None else (Link(client),),
            kind=SpanKind.SERVER,
            resource=self._resource,
            attributes=part.attributes,
            start_time=part.began_ns,
            end_time=part.last_ns,
            instrumentation_scope=_SCOPE,
        )

    def _forget(self, before_ns: int) -> list[ReadableSpan]:
        spans: list[ReadableSpan] = []
        while self._parts:
            uid, oldest = next(iter(self._parts.items()))
            if oldest.began_ns >= before_ns and len(self._parts) <= PODS_MAX:
                break
            del self._parts[uid]
            if oldest.root_open:
                spans.append(self._root(oldest))
        return spans


def _names(decision: str) -> dict[str, str]:
    """Of the created Pod, from what RESPONDED says: NAMESPACE/NAME."""
    namespace, _, name = decision.partition("/")
    return {"k8s.namespace.name": namespace, "k8s.pod.name": name}


def _span_context(context: Traceparent, *, is_remote: bool = False) -> SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED if context.sampled else TraceFlags.DEFAULT)
    return SpanContext(context.trace_id, context.span_id, is_remote, flags)
