import stat

import aiohttp

from podpath.component_base import pod_trace
from podpath.component_base.serving import diagnostics


async def fetch(path, url):
    connector = aiohttp.UnixConnector(path=str(path))
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.get(f"http://x{url}") as response,
    ):
        return response.status, await response.read()


async def test_serves_health_readiness_and_this_process_stamps(tmp_path):
    path = tmp_path / "d.sock"
    ready = False
    pod_trace.stamp(pod_trace.PodStep.BIND, "uid-1", "node-1")
    async with diagnostics(str(path), ready=lambda: ready):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert await fetch(path, "/healthz") == (200, b"ok")
        assert (await fetch(path, "/readyz"))[0] == 503
        ready = True
        assert (await fetch(path, "/readyz"))[0] == 200
        status, body = await fetch(path, "/debug/podtrace?uid=uid-1")
        assert status == 200
        assert b'"BIND"' in body
        assert b"node-1" in body
        assert (await fetch(path, "/debug/podtrace?uid=other"))[1] == b"[]"
    assert not path.exists()
