from podpath.component_base.pod_trace import PodStep, Stamp, TraceRing
from podpath.component_base.traceparent import TRACEPARENT_ANNOTATION

CONTEXT = f"00-{1:032x}-{2:016x}-01"
SAMPLED = {"a": "b", TRACEPARENT_ANNOTATION: CONTEXT}


def test_sampled_pods_stamps_are_told_and_all_are_kept():
    told = []
    ring = TraceRing()
    ring.stamp(PodStep.BIND, "early", "n", SAMPLED)  # nobody listens yet
    ring.on_sampled = lambda *stamp: told.append(stamp)
    ring.stamp(PodStep.BIND, "plain", "n", {"a": "b"})
    ring.stamp(PodStep.BIND, "bare")
    ring.stamp(PodStep.BIND, "sampled", "n", SAMPLED)
    ((record, traceparent),) = told
    kept = [ring.of(uid) for uid in ("early", "plain", "bare", "sampled")]
    assert [len(stamps) for stamps in kept] == [1, 1, 1, 1]
    assert kept[3] == [Stamp(*record)]
    assert traceparent == CONTEXT


def test_the_ring_forgets_the_oldest():
    ring = TraceRing(capacity=2)
    for _ in range(3):
        ring.stamp(PodStep.BIND, "a")
    assert len(ring.of("a")) == 2
