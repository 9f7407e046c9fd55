"""A receiver of traces: OTLP over HTTP, in this process; keeps every span it is sent."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span


@dataclass(frozen=True)
class Received:
    """One span and the process that sent it."""

    service: str
    host: str
    span: Span

    @property
    def attributes(self) -> dict[str, str]:
        return _texts(self.span.attributes)

    @property
    def step(self) -> str:
        """The step's number; empty for the root."""
        return self.attributes.get("podpath.step", "")


class Receiver:
    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self._lock = threading.Lock()
        self._received: list[Received] = []

    def take(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        with self._lock:
            for group in request.resource_spans:
                resource = _texts(group.resource.attributes)
                for scope in group.scope_spans:
                    self._received += (
                        Received(resource["service.name"], resource["host.name"], span)
                        for span in scope.spans
                    )

    def of_pod(self, uid: str) -> list[Received]:
        with self._lock:
            return [r for r in self._received if r.attributes.get("k8s.pod.uid") == uid]


def _texts(attributes: list[KeyValue]) -> dict[str, str]:
    return {a.key: a.value.string_value for a in attributes}


@contextmanager
def otlp_receiver() -> Iterator[Receiver]:
    """Listens on a free port of the loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            receiver.take(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200 if self.path == "/v1/traces" else 404)
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver = Receiver(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
