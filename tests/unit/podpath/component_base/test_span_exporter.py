import itertools

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from podpath.component_base import span_exporter
from podpath.component_base.pod_spans import SpanBuilder
from podpath.component_base.pod_trace import PodStep, Record
from podpath.component_base.span_exporter import DROPPED, SPANS_EXPORTED, SpanExport
from podpath.component_base.traceparent import Traceparent


class Receiver(SpanExporter):
    def __init__(self) -> None:
        self.result = SpanExportResult.SUCCESS
        self.batches: list[list[str]] = []
        self.ended = False

    def export(self, spans):
        self.batches.append([span.name for span in spans])
        return self.result

    def shutdown(self) -> None:
        self.ended = True


@pytest.fixture
def receiver():
    return Receiver()


@pytest.fixture
def export(receiver):
    builder = SpanBuilder(Resource({}), itertools.count(1).__next__)
    return SpanExport(builder, receiver)


def stamp(number: int, step: PodStep = PodStep.SCHEDULER_SAW) -> tuple[Record, str]:
    return (step, f"uid-{number}", number, ""), str(Traceparent(number + 1, 1))


def count(metric, *labels):
    return (metric.labels(*labels) if labels else metric)._value.get()


def test_batches_are_sent_until_the_queue_is_empty(export, receiver, monkeypatch):
    monkeypatch.setattr(span_exporter, "BATCH_MAX", 2)
    before = count(SPANS_EXPORTED)
    for number in range(5):
        export.offer(*stamp(number))
    export.flush()
    assert [len(batch) for batch in receiver.batches] == [2, 2, 1]
    assert count(SPANS_EXPORTED) - before == 5
    export.flush()
    assert len(receiver.batches) == 3


def test_a_full_queue_drops_and_counts(export, receiver, monkeypatch):
    monkeypatch.setattr(span_exporter, "QUEUE_MAX", 3)
    before = count(DROPPED, "queue_full")
    for number in range(5):
        export.offer(*stamp(number))
    assert count(DROPPED, "queue_full") - before == 2
    export.flush()
    assert len(receiver.batches[0]) == 3


def test_spans_that_nobody_takes_are_counted(export, receiver):
    receiver.result = SpanExportResult.FAILURE
    before = count(DROPPED, "not_sent")
    export.offer(*stamp(1))
    export.flush()
    export.flush()
    assert count(DROPPED, "not_sent") - before == 1
    assert len(receiver.batches) == 1


def test_the_end_sends_what_is_left_and_the_open_roots(export, receiver):
    export.start()
    export.offer(*stamp(1, PodStep.REQUEST_RECEIVED))
    export.stop()
    assert list(itertools.chain(*receiver.batches)) == [
        "1 the client's request arrives",
        "pod creation",
    ]
    assert receiver.ended
