"""Several engines behind one shim, chosen by RuntimeClass handler; engines of other people."""

import os
import textwrap
from pathlib import Path

import grpc.aio
import pytest

from protos.cri import runtime_v1_pb2 as cri
from tests.support import containerd
from tests.support.shim_process import ShimProcess, shim_on
from tests.support.shims import IMAGE, Cri, container_config, sandbox_config

pytestmark = pytest.mark.integration


async def run(client: Cri, name: str, handler: str) -> tuple[str, str]:
    """A Pod with one running container on the engine of a handler."""
    sandbox = sandbox_config(name)
    request = cri.RunPodSandboxRequest(config=sandbox, runtime_handler=handler)
    sandbox_id = (await client.service.RunPodSandbox(request)).pod_sandbox_id
    container_id = await client.create(sandbox_id, container_config(), sandbox)
    await client.start(container_id)
    return sandbox_id, container_id


async def pull(client: Cri, handler: str) -> None:
    image = cri.ImageSpec(image=IMAGE, runtime_handler=handler)
    await client.images.PullImage(cri.PullImageRequest(image=image))


async def states(client: Cri) -> dict[str, int]:
    return {c.id: c.state for c in await client.containers()}


async def test_handlers_may_share_an_engine(tmp_path: Path) -> None:
    """A restarted shim does not take one handler's containers for the other's orphans."""
    shim = ShimProcess(tmp_path, ["--backend=fake", "--runtime-handlers=same=fake"])
    shim.start()
    async with shim.client() as client:
        await pull(client, "")
        pods = [await run(client, name, handler) for name, handler in (("a", ""), ("b", "same"))]
        before = await states(client)
    shim.kill()
    shim.start()
    async with shim.client() as client:
        assert await states(client) == before
        assert set(before.values()) == {cri.CONTAINER_RUNNING}
        assert len(pods) == len(before)
    shim.stop()


async def test_an_unknown_handler_is_not_found(tmp_path: Path) -> None:
    shim = ShimProcess(tmp_path, ["--backend=fake"])
    shim.start()
    async with shim.client() as client:
        with pytest.raises(grpc.aio.AioRpcError, match="nobody"):
            await run(client, "a", "nobody")
    shim.stop()


@pytest.mark.e2e
async def test_two_engines_side_by_side(tmp_path: Path) -> None:
    if problem := containerd.available():
        pytest.skip(problem)
    with (
        containerd.running(tmp_path / "containerd") as engine,
        shim_on(tmp_path, engine, "two", "--runtime-handlers=pretend=fake").running() as shim,
    ):
        async with shim.client() as client:
            await pull(client, "pretend")
            _, real = await run(client, "real", "")
            _, pretended = await run(client, "pretended", "pretend")
            listed = engine.nerdctl("two", "ps", "--quiet", "--no-trunc").split()
            assert listed == [real]
            assert (await client.exec_sync(pretended, "echo", "hi")).stdout == b"hi\n"
            status = await client.service.Status(cri.StatusRequest())
            assert [h.name for h in status.runtime_handlers] == ["", "pretend"]
        shim.kill()
        shim.start()
        async with shim.client() as client:
            running = cri.CONTAINER_RUNNING
            assert await states(client) == {real: running, pretended: running}


async def test_an_engine_of_somebody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed beside podpath, named by an entry point, with nothing changed here."""
    installed = tmp_path / "site"
    (installed / "theirs-1.0.dist-info").mkdir(parents=True)
    (installed / "theirs-1.0.dist-info" / "METADATA").write_text("Name: theirs\nVersion: 1.0\n")
    (installed / "theirs-1.0.dist-info" / "entry_points.txt").write_text(
        "[podpath.runtime_backends]\ntheirs = their_engine:create\n"
    )
    (installed / "their_engine.py").write_text(
        textwrap.dedent(
            """
            from runtime_shim.backend import BackendContext, RuntimeInfo
            from runtime_shim.backends.fake import FakeBackend

            class TheirEngine(FakeBackend):
                async def info(self) -> RuntimeInfo:
                    return RuntimeInfo("theirs", self.namespace)

            def create(context: BackendContext) -> TheirEngine:
                engine = TheirEngine(context.clock)
                engine.namespace = context.options["containerd_namespace"]
                return engine
            """
        )
    )
    path = os.pathsep.join([str(installed), *filter(None, [os.environ.get("PYTHONPATH")])])
    monkeypatch.setenv("PYTHONPATH", path)
    shim = ShimProcess(tmp_path, ["--backend=theirs", "--containerd-namespace=their-own"])
    shim.start()
    async with shim.client() as client:
        version = await client.service.Version(cri.VersionRequest())
        assert (version.runtime_name, version.runtime_version) == ("theirs", "their-own")
        await pull(client, "")
        await run(client, "a", "")
    shim.stop()


async def test_an_engine_that_is_not_installed(tmp_path: Path) -> None:
    shim = ShimProcess(tmp_path, ["--backend=theirs"])
    with pytest.raises(RuntimeError, match="fake, nerdctl, proxy"):
        shim.start()
