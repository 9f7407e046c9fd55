"""One suite for every container engine: the fake in memory, nerdctl with real containers, and
the proxy in front of containerd's own CRI."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from podpath.component_base import image_tar
from podpath.component_base.clock import SystemClock
from protos.cri import runtime_v1_pb2 as cri
from runtime_shim.errors import CriError
from tests.support import containerd
from tests.support.shim_process import ShimProcess, shim_on
from tests.support.shims import Cri, container_config, fake_shim, in_memory, sandbox_config

ENGINES = [
    pytest.param("fake", id="fake"),
    pytest.param("nerdctl", id="nerdctl", marks=pytest.mark.e2e),
    pytest.param("proxy", id="proxy", marks=pytest.mark.e2e),
]


@pytest.fixture(scope="module")
def nerdctl_shim(tmp_path_factory: pytest.TempPathFactory):
    """One containerd and one shim for all tests of this module."""
    if problem := containerd.available():
        pytest.skip(problem)
    root = tmp_path_factory.mktemp("nerdctl")
    with (
        containerd.running(root / "containerd") as engine,
        shim_on(root, engine, "contract").running() as shim,
    ):
        yield shim


@pytest.fixture(scope="module")
def proxy_shim(tmp_path_factory: pytest.TempPathFactory):
    if problem := containerd.available():
        pytest.skip(problem)
    root = tmp_path_factory.mktemp("proxy")
    with containerd.running_cri(root / "containerd") as engine:
        engine.load(containerd.CRI_NAMESPACE, image_tar.BUSYBOX_IMAGE)
        record = root / "calls.jsonl"
        flags = (
            "--backend=proxy",
            f"--proxy-endpoint=unix://{engine.address}",
            f"--proxy-record={record}",
        )
        with ShimProcess(root, flags).running() as shim:
            yield shim
        assert b'"rpc":"StartContainer"' in record.read_bytes()


@pytest.fixture(params=ENGINES)
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[Cri]:
    if request.param == "fake":
        async with fake_shim(SystemClock(), write_logs=True) as shim:
            yield in_memory(shim)
    else:
        process: ShimProcess = request.getfixturevalue(f"{request.param}_shim")
        async with process.client() as client:
            try:
                yield client
            finally:
                await client.empty()


def code_of(error: BaseException) -> str:
    if isinstance(error, CriError):
        return error.code.name
    assert isinstance(error, grpc.aio.AioRpcError)
    return error.code().name


async def fails_with(code: str, call: object) -> str:
    with pytest.raises((CriError, grpc.aio.AioRpcError)) as raised:
        await call  # type: ignore[misc]
    assert code_of(raised.value) == code, raised.value
    return str(raised.value)


async def test_a_container_from_creation_to_removal(engine: Cri, tmp_path: Path) -> None:
    sandbox = sandbox_config("life", log_directory=str(tmp_path))
    sandbox_id = await engine.run_sandbox(sandbox)
    container_id = await engine.create(sandbox_id, container_config(), sandbox)
    created = await engine.status(container_id)
    assert created.state == cri.CONTAINER_CREATED
    assert created.created_at > 0
    assert created.started_at == 0
    await engine.start(container_id)
    running = await engine.status(container_id)
    assert running.state == cri.CONTAINER_RUNNING
    assert running.started_at >= running.created_at
    assert running.log_path == str(tmp_path / "main/0.log")
    assert running.image_ref
    await engine.stop(container_id)
    ended = await engine.status(container_id)
    assert ended.state == cri.CONTAINER_EXITED
    assert ended.exit_code == 137
    assert ended.finished_at >= ended.started_at
    await engine.remove(container_id)
    await fails_with("NOT_FOUND", engine.status(container_id))


async def test_a_sandbox_has_an_address_until_it_is_stopped(engine: Cri) -> None:
    sandbox_id = await engine.run_sandbox(sandbox_config("addressed"))
    ready = await engine.sandbox_status(sandbox_id)
    assert ready.state == cri.SANDBOX_READY
    assert ready.network.ip.startswith("10.")
    await engine.stop_sandbox(sandbox_id)
    stopped = await engine.sandbox_status(sandbox_id)
    assert stopped.state == cri.SANDBOX_NOTREADY
    assert stopped.network.ip == ""


async def test_two_sandboxes_have_different_addresses(engine: Cri) -> None:
    ids = [await engine.run_sandbox(sandbox_config(name)) for name in ("one", "two")]
    ips = {(await engine.sandbox_status(sandbox_id)).network.ip for sandbox_id in ids}
    assert len(ips) == 2


async def test_the_hosts_network_gives_no_address(engine: Cri) -> None:
    sandbox = sandbox_config("host")
    sandbox.hostname = ""
    sandbox.linux.security_context.namespace_options.network = cri.NODE
    sandbox_id = await engine.run_sandbox(sandbox)
    assert (await engine.sandbox_status(sandbox_id)).network.ip == ""


@pytest.mark.parametrize("kind", ["container", "sandbox"])
async def test_stop_and_remove_are_idempotent(engine: Cri, kind: str) -> None:
    sandbox_id, container_id = await engine.running(sandbox_config("twice"), container_config())
    if kind == "container":
        for _ in range(2):
            await engine.stop(container_id)
        for _ in range(2):
            await engine.remove(container_id)
    else:
        for _ in range(2):
            await engine.stop_sandbox(sandbox_id)
        for _ in range(2):
            await engine.remove_sandbox(sandbox_id)
        assert container_id not in [c.id for c in await engine.containers()]


async def test_unknown_ids_are_stopped_and_removed_already(engine: Cri) -> None:
    await engine.stop("0" * 64)
    await engine.remove("0" * 64)
    await engine.stop_sandbox("0" * 64)
    await engine.remove_sandbox("0" * 64)


async def test_a_name_is_taken_until_it_is_removed(engine: Cri) -> None:
    sandbox = sandbox_config("taken")
    sandbox_id = await engine.run_sandbox(sandbox)
    await fails_with("ALREADY_EXISTS", engine.run_sandbox(sandbox))
    container_id = await engine.create(sandbox_id, container_config(), sandbox)
    await fails_with("ALREADY_EXISTS", engine.create(sandbox_id, container_config(), sandbox))
    await engine.remove(container_id)
    await engine.create(sandbox_id, container_config(), sandbox)


async def test_an_absent_image_is_not_found(engine: Cri) -> None:
    sandbox = sandbox_config("imageless")
    sandbox_id = await engine.run_sandbox(sandbox)
    config = container_config(image="docker.io/podpath/nowhere:1")
    message = await fails_with("NOT_FOUND", engine.create(sandbox_id, config, sandbox))
    assert "podpath/nowhere:1" in message


async def test_a_container_starts_once(engine: Cri) -> None:
    _, container_id = await engine.running(sandbox_config("once"), container_config())
    await fails_with("FAILED_PRECONDITION", engine.start(container_id))


async def test_a_stopped_sandbox_takes_no_container(engine: Cri) -> None:
    sandbox = sandbox_config("closed")
    sandbox_id = await engine.run_sandbox(sandbox)
    await engine.stop_sandbox(sandbox_id)
    await fails_with("FAILED_PRECONDITION", engine.create(sandbox_id, container_config(), sandbox))


async def test_removing_a_sandbox_takes_running_containers_with_it(engine: Cri) -> None:
    sandbox_id, container_id = await engine.running(sandbox_config("forced"), container_config())
    await engine.remove_sandbox(sandbox_id)
    assert sandbox_id not in [s.id for s in await engine.sandboxes()]
    assert container_id not in [c.id for c in await engine.containers()]


async def test_lists_are_filtered(engine: Cri) -> None:
    sandbox = sandbox_config("listed")
    sandbox_id, container_id = await engine.running(sandbox, container_config())
    other_id = await engine.create(sandbox_id, container_config("other"), sandbox)

    async def found(asked: cri.ContainerFilter) -> set[str]:
        request = cri.ListContainersRequest(filter=asked)
        return {c.id for c in (await engine.service.ListContainers(request)).containers}

    running = cri.ContainerStateValue(state=cri.CONTAINER_RUNNING)
    assert await found(cri.ContainerFilter(state=running)) == {container_id}
    assert await found(cri.ContainerFilter(label_selector={"part": "other"})) == {other_id}
    assert await found(cri.ContainerFilter(id=container_id[:13])) == {container_id}
    assert await found(cri.ContainerFilter(pod_sandbox_id=sandbox_id)) == {container_id, other_id}
    assert await found(cri.ContainerFilter(pod_sandbox_id="f" * 64)) == set()


@pytest.mark.e2e
async def test_looking_starts_no_process(nerdctl_shim: ShimProcess) -> None:
    """What a kubelet asks every second, and every ten for its figures."""
    async with nerdctl_shim.client() as client:
        sandbox_id, container_id = await client.running(
            sandbox_config("looked-at"), container_config()
        )
        await client.exec_sync(container_id, "true")
        before = nerdctl_shim.children_seen()
        for _ in range(20):
            assert container_id in [c.id for c in await client.containers()]
            assert sandbox_id in [s.id for s in await client.sandboxes()]
            await client.status(container_id)
            await client.sandbox_status(sandbox_id)
            await client.service.ListContainerStats(cri.ListContainerStatsRequest())
            await client.service.ListPodSandboxStats(cri.ListPodSandboxStatsRequest())
            await client.service.Version(cri.VersionRequest())
            await client.service.Status(cri.StatusRequest())
        assert nerdctl_shim.children_seen() == before
        await client.exec_sync(container_id, "true")
        assert nerdctl_shim.children_seen() > before  # the measure sees a process
        await client.empty()


async def test_exec_sync_returns_output_and_code(engine: Cri) -> None:
    _, container_id = await engine.running(sandbox_config("exec"), container_config())
    answer = await engine.exec_sync(container_id, "echo", "hello", "there")
    assert (answer.stdout, answer.exit_code) == (b"hello there\n", 0)
    assert (await engine.exec_sync(container_id, "sh", "-c", "exit 7")).exit_code == 7


async def test_exec_needs_a_running_container(engine: Cri) -> None:
    _, container_id = await engine.running(sandbox_config("execless"), container_config())
    await engine.stop(container_id)
    request = cri.ExecSyncRequest(container_id=container_id, cmd=["true"])
    await fails_with("FAILED_PRECONDITION", engine.service.ExecSync(request))


async def test_events_tell_a_containers_life(engine: Cri) -> None:
    seen: list[tuple[str, int]] = []
    stream = engine.service.GetContainerEvents(cri.GetEventsRequest())

    async def collect() -> None:
        async for event in stream:
            seen.append((event.container_id, event.container_event_type))  # noqa: PERF401

    collecting = asyncio.ensure_future(collect())
    async with asyncio.timeout(60):
        while not seen:  # a subscriber hears nothing from before its call
            await engine.remove_sandbox(await engine.run_sandbox(sandbox_config("probe")))
    sandbox_id, container_id = await engine.running(sandbox_config("told"), container_config())
    await engine.stop(container_id)
    await engine.remove_sandbox(sandbox_id)
    async with asyncio.timeout(60):
        while (sandbox_id, cri.CONTAINER_DELETED_EVENT) not in seen:
            await asyncio.sleep(0.01)
    collecting.cancel()
    own = [kind for subject, kind in seen if subject == container_id]
    assert own == [
        cri.CONTAINER_CREATED_EVENT,
        cri.CONTAINER_STARTED_EVENT,
        cri.CONTAINER_STOPPED_EVENT,
        cri.CONTAINER_DELETED_EVENT,
    ]


@pytest.fixture
def log_time(request: pytest.FixtureRequest) -> str:
    """How a log line's time is written: by us with nine digits, always; containerd's own logger
    writes Go's RFC3339Nano, which cuts zeros at the end."""
    if request.node.callspec.params["engine"] == "proxy":
        return r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)"
    return r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z"


async def test_logs_are_in_cri_format(engine: Cri, tmp_path: Path, log_time: str) -> None:
    sandbox = sandbox_config(
        "logged",
        log_directory=str(tmp_path),
        annotations={"fake.podpath.io/log": "one\ntwo"},
    )
    config = container_config("main", "sh", "-c", "echo one; echo two; sleep 1000")
    await engine.running(sandbox, config)
    path = tmp_path / "main/0.log"
    async with asyncio.timeout(60):
        while not path.exists() or len(path.read_text().splitlines()) < 2:
            await asyncio.sleep(0.02)
    fields = [line.split(" ", 3) for line in path.read_text().splitlines()]
    assert [f[1:] for f in fields] == [["stdout", "F", "one"], ["stdout", "F", "two"]]
    for time, *_ in fields:
        assert re.fullmatch(log_time, time), time


@pytest.mark.parametrize("engine", ENGINES[1:], indirect=True)
async def test_a_terminal(engine: Cri, tmp_path: Path) -> None:
    """In a directory that is longer than the path of a socket may be."""
    logs = tmp_path / ("long" * 30)
    sandbox = sandbox_config("typing", log_directory=str(logs))
    config = container_config("main", "sh", "-c", "test -t 0 && echo a terminal; sleep 1000")
    config.tty = config.stdin = True
    await engine.running(sandbox, config)
    path = logs / "main/0.log"
    async with asyncio.timeout(60):
        while not path.exists() or "stdout F a terminal" not in path.read_text():
            await asyncio.sleep(0.02)


async def test_stats_of_a_running_container(engine: Cri) -> None:
    sandbox = sandbox_config("counted")
    sandbox.linux.cgroup_parent = "/podpath-test/counted"
    sandbox_id, container_id = await engine.running(sandbox, container_config())
    request = cri.ContainerStatsRequest(container_id=container_id)
    stats = (await engine.service.ContainerStats(request)).stats
    assert stats.attributes.id == container_id
    assert stats.memory.working_set_bytes.value > 0
    assert stats.cpu.timestamp > 0
    assert stats.cpu.HasField("usage_nano_cores")
    pods = await engine.service.ListPodSandboxStats(cri.ListPodSandboxStatsRequest())
    assert [c.attributes.id for c in pods.stats[0].linux.containers] == [container_id]
    metrics = await engine.service.ListPodSandboxMetrics(cri.ListPodSandboxMetricsRequest())
    assert [m.pod_sandbox_id for m in metrics.pod_metrics] == [sandbox_id]


async def test_version_and_status(engine: Cri) -> None:
    version = await engine.service.Version(cri.VersionRequest())
    assert version.version == "0.1.0"
    assert version.runtime_name
    assert version.runtime_version
    status = await engine.service.Status(cri.StatusRequest())
    conditions = {c.type: c.status for c in status.status.conditions}
    assert conditions == {"RuntimeReady": True, "NetworkReady": True}


async def test_an_absent_image_has_an_empty_status(engine: Cri) -> None:
    request = cri.ImageStatusRequest(image=cri.ImageSpec(image="docker.io/podpath/none:1"))
    assert not (await engine.images.ImageStatus(request)).HasField("image")


@pytest.mark.parametrize("engine", ENGINES[:2], indirect=True)
async def test_images_lie_in_a_directory_that_is_there(engine: Cri) -> None:
    """The kubelet looks at its file system from the start."""
    info = await engine.images.ImageFsInfo(cri.ImageFsInfoRequest())
    for used in info.image_filesystems:
        assert Path(used.fs_id.mountpoint).is_dir()
        assert used.used_bytes.value > 0


async def test_an_image_is_found_by_every_kind_of_reference(engine: Cri) -> None:
    async def status(reference: str) -> cri.Image:
        request = cri.ImageStatusRequest(image=cri.ImageSpec(image=reference))
        return (await engine.images.ImageStatus(request)).image

    image = await status("podpath/busybox")
    assert image.id.startswith("sha256:")
    assert list(image.repo_tags) == ["docker.io/podpath/busybox:latest"]
    for reference in (image.id, *image.repo_tags, *image.repo_digests):
        assert await status(reference) == image


async def test_what_is_not_served_says_why(engine: Cri) -> None:
    request = cri.CheckpointContainerRequest(container_id="x", location="/x")
    message = await fails_with("UNIMPLEMENTED", engine.service.CheckpointContainer(request))
    assert "CRIU" in message
