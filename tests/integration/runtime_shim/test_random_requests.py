"""Every RPC with missing, unknown, malformed and enormous fields: a right code, no crash, no leak.

The requests are made from CRI's descriptors by seeded chance. Some name a sandbox, a container and
an image that exist, so that they come further than the first check.
"""

import random
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import grpc
import grpc.aio
import pytest
from google.protobuf import message_factory
from google.protobuf.message import Message

from podpath.component_base.clock import SystemClock
from protos.cri import runtime_v1_pb2 as cri
from runtime_shim.backends import nerdctl_sandboxes, nerdctl_spec
from runtime_shim.errors import CriError
from runtime_shim.network import host_ports, resolv_conf
from runtime_shim.server import serve
from runtime_shim.shim import RuntimeShim
from runtime_shim.streaming import StreamingServer
from runtime_shim.unhonoured import Warnings, check
from tests.support import containerd
from tests.support.random_messages import random_message
from tests.support.shim_process import ShimProcess, shim_on
from tests.support.shims import (
    IMAGE,
    Cri,
    container_config,
    fake_shim,
    in_memory,
    sandbox,
    sandbox_config,
)
from tests.unit.runtime_shim.test_every_field import FULL_FACTS, new_planner

pytestmark = pytest.mark.integration

ALLOWED = {
    "OK",
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "FAILED_PRECONDITION",
    "UNIMPLEMENTED",
    "PERMISSION_DENIED",
    "UNAVAILABLE",
}
UNARY = [
    pytest.param(service.name, method.name, id=method.name)
    for service in cri.DESCRIPTOR.services_by_name.values()
    for method in service.methods
    if not method.server_streaming
]


async def code_of(
    channel: grpc.aio.Channel, service: str, name: str, request: Message, *, timeout_s: float = 20
) -> str:
    method = cri.DESCRIPTOR.services_by_name[service].methods_by_name[name]
    stub = channel.unary_unary(
        f"/runtime.v1.{service}/{name}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
    )
    try:
        await stub(request, timeout=timeout_s)
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return "OK"


@pytest.fixture
async def fake(tmp_path: Path) -> AsyncIterator[tuple[RuntimeShim, grpc.aio.Channel]]:
    socket = tmp_path / "cri.sock"
    async with fake_shim(SystemClock()) as shim, StreamingServer(shim.runtime) as streams:
        shim.serve_streams(streams)
        async with serve(shim, socket), grpc.aio.insecure_channel(f"unix:{socket}") as channel:
            yield shim, channel


@pytest.mark.parametrize(("service", "name"), UNARY)
async def test_every_rpc(
    fake: tuple[RuntimeShim, grpc.aio.Channel], service: str, name: str
) -> None:
    shim, channel = fake
    calls = in_memory(shim)
    known = [*await calls.running(sandbox_config(), container_config()), IMAGE]
    dice = random.Random(f"{service}.{name}")
    asked = cri.DESCRIPTOR.services_by_name[service].methods_by_name[name].input_type
    for _ in range(60):
        request = random_message(asked, dice, known)
        assert await code_of(channel, service, name, request) in ALLOWED, request
    await calls.empty()
    state = shim.runtime.state
    assert (state.sandboxes, state.containers, state._members, state._reserved) == ({}, {}, {}, {})
    backend = shim.runtime.backend("")
    assert not backend._declared  # type: ignore[attr-defined]
    assert not backend._addresses._used  # type: ignore[attr-defined]


def test_what_nerdctl_is_asked_is_refused_before_it_is_started(tmp_path: Path) -> None:
    """Whatever passes the shim's own checks becomes a plan or a refusal, nothing else."""
    dice = random.Random(4)
    planner = new_planner(tmp_path)
    facts = replace(FULL_FACTS, list_devices=lambda _: [])
    planned = 0
    for _ in range(3000):
        config = random_message(cri.ContainerConfig.DESCRIPTOR, dice, [str(tmp_path), "0"])
        try:
            check(config, "config", Warnings())
            plan = planner.container(sandbox(), config, "image", {"Cmd": ["own"]}, facts)
            plan.edits("id")
            nerdctl_spec.ignored(config, facts)
        except CriError:
            continue
        planned += 1
    assert planned > 20, "the messages are too odd to try anything"


def test_sandboxes_that_nerdctl_would_have_are_checked_the_same_way() -> None:
    dice = random.Random(5)
    for _ in range(1000):
        config = random_message(cri.PodSandboxConfig.DESCRIPTOR, dice)
        try:
            check(config, "config", Warnings())
            nerdctl_sandboxes.refuse(config, FULL_FACTS)
        except CriError:
            continue
        nerdctl_sandboxes.ignored(config)
        host_ports(config)
        resolv_conf(config.dns_config, "")


@pytest.fixture(scope="module")
def nerdctl(tmp_path_factory: pytest.TempPathFactory):
    if problem := containerd.available():
        pytest.skip(problem)
    root = tmp_path_factory.mktemp("random")
    with (
        containerd.running(root / "containerd") as engine,
        shim_on(root, engine, "random").running() as shim,
    ):
        yield shim, engine


@pytest.mark.e2e
async def test_containers_of_chance_on_nerdctl(
    nerdctl: tuple[ShimProcess, containerd.Containerd],
) -> None:
    """Odd container configs on a real engine: what is not refused runs or fails, and goes away."""
    shim, engine = nerdctl
    dice = random.Random(6)
    codes: set[str] = set()
    async with shim.client() as client, grpc.aio.insecure_channel(f"unix:{shim.socket}") as channel:
        pod = sandbox_config("odd")
        sandbox_id = await client.run_sandbox(pod)
        for number in range(25):
            config = random_message(
                cri.ContainerConfig.DESCRIPTOR, dice, [IMAGE, "sh", "0", "/tmp"]
            )
            assert isinstance(config, cri.ContainerConfig)
            if number % 2:  # one odd part in an otherwise good one
                odd = config
                config = container_config(f"c{number}")
                part = dice.choice(("linux", "envs", "args", "labels", "devices", "working_dir"))
                config.MergeFrom(cri.ContainerConfig(**{part: getattr(odd, part)}))
            codes.add(await create_and_start(client, channel, sandbox_id, config, pod))
        await client.empty()
    assert codes <= ALLOWED | {"UNKNOWN"}  # the engine's own complaint
    assert "OK" in codes
    assert engine.nerdctl("random", "ps", "--all", "--quiet") == ""
    for directory in ("containers", "sandboxes"):
        assert list((shim.state / directory).iterdir()) == []


async def create_and_start(
    client: Cri,
    channel: grpc.aio.Channel,
    sandbox_id: str,
    config: cri.ContainerConfig,
    pod: cri.PodSandboxConfig,
) -> str:
    request = cri.CreateContainerRequest(
        pod_sandbox_id=sandbox_id, config=config, sandbox_config=pod
    )
    code = await code_of(channel, "RuntimeService", "CreateContainer", request, timeout_s=60)
    if code != "OK":
        return code
    created = [c.id for c in await client.containers() if c.state == cri.CONTAINER_CREATED]
    start = cri.StartContainerRequest(container_id=created[0])
    return await code_of(channel, "RuntimeService", "StartContainer", start, timeout_s=60)
