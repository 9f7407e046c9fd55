"""What every process tells about itself, on a unix socket of its own (mode 0600).

`/healthz` it runs, `/readyz` it can serve, `/metrics` Prometheus text, `/debug/podtrace?uid=UID`
its stamps of one Pod. Being a socket file, it needs no port and no credentials.
"""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import prometheus_client
from aiohttp import web

from podpath.component_base import pod_trace


def _always() -> bool:
    return True


@asynccontextmanager
async def diagnostics(
    socket_path: str, *, ready: Callable[[], bool] = _always
) -> AsyncIterator[None]:
    """Serves while the block runs; an empty path serves nothing."""
    if not socket_path:
        yield
        return
    path = Path(socket_path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    runner = web.AppRunner(_application(ready), access_log=None)
    await runner.setup()
    mask = os.umask(0o177)
    try:
        await web.UnixSite(runner, str(path)).start()
    finally:
        os.umask(mask)
    try:
        yield
    finally:
        await runner.cleanup()
        path.unlink(missing_ok=True)


def _application(ready: Callable[[], bool]) -> web.Application:
    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def readyz(_: web.Request) -> web.Response:
        return web.Response(text="ok") if ready() else web.Response(status=503, text="not ready")

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(
            body=prometheus_client.generate_latest(), content_type="text/plain", charset="utf-8"
        )

    async def podtrace(request: web.Request) -> web.Response:
        stamps = [
            {"step": s.step.name, "at": s.at_ns, "decision": s.decision}
            for s in pod_trace.ring.of(request.query.get("uid", ""))
        ]
        return web.Response(body=orjson.dumps(stamps), content_type="application/json")

    application = web.Application()
    application.router.add_get("/healthz", healthz)
    application.router.add_get("/readyz", readyz)
    application.router.add_get("/metrics", metrics)
    application.router.add_get("/debug/podtrace", podtrace)
    return application
