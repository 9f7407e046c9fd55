"""Sends the spans of this process to an OTLP receiver, from a thread of its own.

A sampled stamp waits in a queue that is bounded; the thread empties it every `PERIOD_S`, makes
spans of it and sends them. A receiver that is slow or away costs spans, which are counted, and
nothing else.
"""

import logging
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from prometheus_client import Counter

from podpath.component_base import pod_trace
from podpath.component_base.pod_spans import SpanBuilder
from podpath.component_base.pod_trace import PodStep, Record, Stamp

_log = logging.getLogger(__name__)

PERIOD_S = 1.0
QUEUE_MAX = 16_384
BATCH_MAX = 512
SEND_TIMEOUT_S = 5.0
END_TIMEOUT_S = 2.0
"""How long a process' end may be held up by the last spans."""

SPANS_EXPORTED = Counter("podpath_trace_spans_exported", "Spans that a receiver has taken.")
DROPPED = Counter(
    "podpath_trace_dropped",
    "What was not exported: stamps that found the queue full, spans that no receiver took.",
    ["reason"],
)


class SpanExport:
    """The queue, and the thread that empties it."""

    def __init__(self, builder: SpanBuilder, exporter: SpanExporter) -> None:
        self._builder = builder
        self._exporter = exporter
        self._queue: deque[tuple[Record, str]] = deque()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="span-export", daemon=True)

    def offer(self, record: Record, traceparent: str) -> None:
        """Takes a stamp, or counts it as dropped. Never waits."""
        if len(self._queue) < QUEUE_MAX:
            self._queue.append((record, traceparent))
        else:
            DROPPED.labels("queue_full").inc()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Sends what is left, if the receiver is quick enough; else gives up."""
        self._ending.set()
        self._thread.join(END_TIMEOUT_S)
        self._exporter.shutdown()
        self._thread.join(END_TIMEOUT_S)

    def flush(self) -> None:
        """Sends all that has been offered up to now."""
        while True:
            count = min(len(self._queue), BATCH_MAX)
            offered = [self._queue.popleft() for _ in range(count)]
            stamps = [Stamp(*record, traceparent) for record, traceparent in offered]
            self._send(self._builder.build(stamps, time.time_ns()))
            if count < BATCH_MAX:
                return

    def _run(self) -> None:
        while not self._ending.wait(PERIOD_S):
            self.flush()
        self.flush()
        self._send(self._builder.finish())

    def _send(self, spans: list[ReadableSpan]) -> None:
        if not spans:
            return
        if self._exporter.export(spans) is SpanExportResult.SUCCESS:
            SPANS_EXPORTED.inc(len(spans))
        else:
            DROPPED.labels("not_sent").inc(len(spans))


@contextmanager
def running(url: str, service: str, host: str, creation_ends_with: PodStep) -> Iterator[None]:
    """Exports what the process' ring is told of sampled Pods; the last spans at the end."""
    resource = Resource.create({"service.name": service, "host.name": host or socket.gethostname()})
    builder = SpanBuilder(resource, RandomIdGenerator().generate_span_id, creation_ends_with)
    export = SpanExport(builder, OTLPSpanExporter(url, timeout=SEND_TIMEOUT_S))
    export.start()
    pod_trace.ring.on_sampled = export.offer
    _log.info("spans of Pods' creations are sent", extra={"endpoint": url, "service": service})
    try:
        yield
    finally:
        pod_trace.ring.on_sampled = None
        export.stop()
