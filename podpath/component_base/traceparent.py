"""The trace context of one Pod's creation, as the text that crosses processes. Pure.

    00-TRACE-SPAN-FLAGS    32, 16 and 2 hexadecimal digits; bit 0 of the flags says: sampled

Source: W3C Trace Context, section 3.2 (traceparent header).
"""

import re
import uuid
from dataclasses import dataclass

TRACEPARENT_ANNOTATION = "tracing.k8s.io/traceparent"
"""Where a created Pod carries its context: through etcd to scheduler, controllers and kubelet,
and with the sandbox's annotations over CRI to the runtime."""

_FORM = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED = 1
_SPAN_BITS = (1 << 64) - 1
_RANDOM_BITS = (1 << 56) - 1
_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Traceparent:
    """One span as its children name it."""

    trace_id: int
    span_id: int
    sampled: bool = True

    def __str__(self) -> str:
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{self.sampled:02x}"


def parse(text: str) -> Traceparent | None:
    """None for what is no valid traceparent. Versions to come are read as far as 00 goes."""
    found = _FORM.fullmatch(text)
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == "ff" or (version == "00" and more):
        return None
    context = Traceparent(int(trace_id, 16), int(span_id, 16), bool(int(flags, 16) & _SAMPLED))
    return context if context.trace_id and context.span_id else None


def root_of(uid: str, parent: Traceparent | None, rate_per_million: int) -> Traceparent | None:
    """The root span of the creation of the Pod `uid`; None when it is not sampled.

    A parent decides alone. Without one the uid is the trace id, and its last 56 bits, which are
    random in a UUID, are the lot that is drawn: whoever knows the uid comes to the same answer.
    """
    own = uuid.UUID(uid).int
    if parent is not None:
        return Traceparent(parent.trace_id, own & _SPAN_BITS) if parent.sampled else None
    if (own & _RANDOM_BITS) * _MILLION >= rate_per_million << 56:
        return None
    return Traceparent(own, own & _SPAN_BITS)
