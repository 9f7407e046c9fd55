"""podpath.scheduler.v1 on a local socket (mode 0600): who may open it may ask.

Source: protos/podpath/scheduler_v1.proto.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import grpc
import grpc.aio

from podpath.component_base.clock import Clock
from protos.podpath import scheduler_v1_pb2 as api
from protos.podpath.scheduler_v1_pb2_grpc import ExplainerServicer, add_ExplainerServicer_to_server
from scheduler import explain
from scheduler.cache import Cache
from scheduler.explain import DecisionLog
from scheduler.framework.runtime import Framework, PluginError

STOP_GRACE_S = 1.0

Context: TypeAlias = "grpc.aio.ServicerContext[Any, api.Decision]"


class Explainer(ExplainerServicer):
    """Answers from what the scheduler remembers and sees."""

    def __init__(
        self, log: DecisionLog, frameworks: Mapping[str, Framework], cache: Cache, clock: Clock
    ) -> None:
        self._log = log
        self._frameworks = frameworks
        self._cache = cache
        self._clock = clock

    async def Explain(self, request: api.ExplainRequest, context: Context) -> api.Decision:
        if request.HasField("name"):
            record = self._log.find_by_name((request.name.namespace, request.name.name))
        else:
            record = self._log.find(request.uid)
        if record is None:
            await context.abort(
                grpc.StatusCode.NOT_FOUND, "no decision about this Pod is remembered"
            )
        return explain.told(record)

    async def ExplainWhatIf(
        self, request: api.ExplainWhatIfRequest, context: Context
    ) -> api.Decision:
        try:
            record = explain.what_if(request.pod, self._frameworks, self._cache, self._clock)
        except ValueError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except PluginError as error:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
        return explain.told(record)


@asynccontextmanager
async def serve(explainer: Explainer, socket_path: str) -> AsyncIterator[None]:
    """Serves while the block runs; an empty path serves nothing."""
    if not socket_path:
        yield
        return
    path = Path(socket_path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    server = grpc.aio.server(options=[("grpc.max_send_message_length", -1)])
    add_ExplainerServicer_to_server(explainer, server)
    mask = os.umask(0o177)
    try:
        server.add_insecure_port(f"unix:{path}")
        await server.start()
    finally:
        os.umask(mask)
    try:
        yield
    finally:
        await asyncio.shield(server.stop(STOP_GRACE_S))
        path.unlink(missing_ok=True)
