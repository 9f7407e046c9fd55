import random
import uuid

import pytest
from opentelemetry.trace import get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from podpath.component_base import traceparent
from podpath.component_base.traceparent import Traceparent

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
UID = "0b3c7f5e-9d5b-4c33-9e21-5a0f7c1d2e3f"


@pytest.mark.parametrize(
    ("text", "sampled"),
    [
        pytest.param(f"00-{TRACE}-{SPAN}-01", True, id="sampled"),
        pytest.param(f"00-{TRACE}-{SPAN}-00", False, id="not sampled"),
        pytest.param(f"00-{TRACE}-{SPAN}-03", True, id="another flag too"),
        pytest.param(f"01-{TRACE}-{SPAN}-01-more", True, id="a later version has more"),
        pytest.param(f"00-{TRACE}-{SPAN}-01-more", None, id="this version has not"),
        pytest.param(f"ff-{TRACE}-{SPAN}-01", None, id="forbidden version"),
        pytest.param(f"00-{'0' * 32}-{SPAN}-01", None, id="no trace"),
        pytest.param(f"00-{TRACE}-{'0' * 16}-01", None, id="no span"),
        pytest.param(f"00-{TRACE.upper()}-{SPAN}-01", None, id="upper case"),
        pytest.param(f"00-{TRACE}-{SPAN}", None, id="no flags"),
        pytest.param(f"00-{TRACE[1:]}-{SPAN}-01", None, id="short trace"),
        pytest.param("", None, id="empty"),
        pytest.param("hello", None, id="something else"),
    ],
)
def test_reads_what_opentelemetry_reads(text, sampled):
    found = traceparent.parse(text)
    theirs = get_current_span(
        TraceContextTextMapPropagator().extract({"traceparent": text})
    ).get_span_context()
    assert theirs.is_valid == (sampled is not None)
    if sampled is None:
        assert found is None
    else:
        assert found == Traceparent(int(TRACE, 16), int(SPAN, 16), sampled)
        assert (theirs.trace_id, theirs.span_id) == (found.trace_id, found.span_id)
        assert theirs.trace_flags.sampled == sampled


def test_its_text_is_read_back():
    context = Traceparent(1, 2, True)
    assert str(context) == f"00-{1:032x}-{2:016x}-01"
    assert traceparent.parse(str(context)) == context
    assert str(Traceparent(1, 2, False)).endswith("-00")


@pytest.mark.parametrize(
    ("parent", "rate", "expected"),
    [
        pytest.param(None, 0, None, id="no parent, nothing sampled"),
        pytest.param(None, 1_000_000, int(uuid.UUID(UID)), id="the uid is the trace"),
        pytest.param(Traceparent(7, 8, True), 0, 7, id="a sampled parent"),
        pytest.param(Traceparent(7, 8, False), 1_000_000, None, id="a parent not sampled"),
    ],
)
def test_a_parent_decides_else_the_rate(parent, rate, expected):
    root = traceparent.root_of(UID, parent, rate)
    assert (root.trace_id if root is not None else None) == expected
    if root is not None:
        assert root.sampled
        assert root.span_id == int(UID.replace("-", "")[16:], 16)


def test_a_rate_samples_its_share_and_what_lower_rates_sample():
    rng = random.Random(5)
    uids = [str(uuid.UUID(int=rng.getrandbits(128), version=4)) for _ in range(20_000)]
    sampled = {
        rate: {uid for uid in uids if traceparent.root_of(uid, None, rate)}
        for rate in (1_000, 100_000, 500_000)
    }
    for rate, found in sampled.items():
        expected = len(uids) * rate / 1_000_000
        assert abs(len(found) - expected) < 5 * expected**0.5
    assert sampled[1_000] < sampled[100_000] < sampled[500_000]
