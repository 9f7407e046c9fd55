"""The shim behind real sockets: every RPC answers, streams work, bad input gets a right code."""

import json
import random
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import grpc.aio
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from podpath.component_base.clock import SystemClock
from podpath.component_base.streaming import websocket
from protos.cri import runtime_v1_pb2 as cri
from runtime_shim.server import serve
from runtime_shim.streaming import StreamingServer
from tests.support.shims import container_config, fake_shim, in_memory, sandbox_config

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


@pytest.fixture
async def channel(tmp_path: Path) -> AsyncIterator[grpc.aio.Channel]:
    socket = tmp_path / "cri.sock"
    async with fake_shim(SystemClock()) as shim, StreamingServer(shim.runtime) as streams:
        shim.serve_streams(streams)
        async with serve(shim, socket), grpc.aio.insecure_channel(f"unix:{socket}") as opened:
            yield opened
        assert len(shim.runtime.state.containers) < 2000


async def call(channel: grpc.aio.Channel, service: str, name: str, request: Message) -> Message:
    method = cri.DESCRIPTOR.services_by_name[service].methods_by_name[name]
    stub = channel.unary_unary(
        f"/runtime.v1.{service}/{name}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
    )
    return await stub(request, timeout=20)


UNARY = [
    pytest.param(service.name, method.name, id=method.name)
    for service in cri.DESCRIPTOR.services_by_name.values()
    for method in service.methods
    if not method.server_streaming
]


async def test_the_socket_is_its_owners_alone(tmp_path: Path) -> None:
    async with fake_shim(SystemClock()) as shim, serve(shim, tmp_path / "s.sock"):
        assert (tmp_path / "s.sock").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("service", "name"), UNARY)
async def test_every_rpc_answers_random_requests(
    channel: grpc.aio.Channel, service: str, name: str
) -> None:
    """Missing, unknown, malformed and enormous fields: a right code, and the door stays open."""
    dice = random.Random(f"{service}.{name}")
    method = cri.DESCRIPTOR.services_by_name[service].methods_by_name[name]
    for _ in range(40):
        request = random_message(method.input_type, dice)
        try:
            await call(channel, service, name, request)
            code = "OK"
        except grpc.aio.AioRpcError as error:
            code = error.code().name
        assert code in ALLOWED, (code, request)
    await call(channel, "RuntimeService", "Version", cri.VersionRequest())


def random_message(descriptor: Descriptor, dice: random.Random, depth: int = 0) -> Message:
    message = message_factory.GetMessageClass(descriptor)()
    for field in descriptor.fields:
        if dice.random() < 0.4 or depth > 6:
            continue
        if field.message_type and field.message_type.GetOptions().map_entry:
            getattr(message, field.name).update({_text(dice): _text(dice)})
        elif field.is_repeated:
            _fill_repeated(message, field, dice, depth)
        elif field.message_type:
            value = random_message(field.message_type, dice, depth + 1)
            getattr(message, field.name).CopyFrom(value)
        else:
            setattr(message, field.name, _scalar(field, dice))
    return message


def _fill_repeated(
    message: Message, field: FieldDescriptor, dice: random.Random, depth: int
) -> None:
    for _ in range(dice.choice((0, 1, 2))):
        if field.message_type:
            value = random_message(field.message_type, dice, depth + 1)
            getattr(message, field.name).add().CopyFrom(value)
        else:
            getattr(message, field.name).append(_scalar(field, dice))


def _text(dice: random.Random) -> str:
    return dice.choice(
        ("", "a", "docker.io/podpath/busybox:latest", "../../etc", "\n\0", "ü" * 40)
    ) or ("x" * dice.choice((1, 5000, 200_000)))


def _scalar(field: FieldDescriptor, dice: random.Random) -> object:
    kind = field.cpp_type
    if kind == FieldDescriptor.CPPTYPE_STRING:
        text = _text(dice)
        return text.encode() if field.type == FieldDescriptor.TYPE_BYTES else text
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return dice.random() < 0.5
    if kind == FieldDescriptor.CPPTYPE_ENUM:
        return dice.choice((0, 1, 2, 99))
    if kind in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
        return dice.random()
    unsigned = kind in (FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64)
    return dice.choice((0, 1, 3, 2**31 - 1) if unsigned else (0, 1, 3, -1, 2**31 - 1))


@pytest.fixture
async def streaming() -> AsyncIterator[tuple[object, str]]:
    async with fake_shim(SystemClock()) as shim, StreamingServer(shim.runtime) as streams:
        shim.serve_streams(streams)
        _, container_id = await in_memory(shim).running(sandbox_config(), container_config())
        yield shim, container_id


async def test_exec_over_websocket(streaming: tuple[object, str]) -> None:
    shim, container_id = streaming
    request = cri.ExecRequest(container_id=container_id, cmd=["cat"], stdin=True, stdout=True)
    url = (await shim.exec(request)).url  # type: ignore[attr-defined]
    socket = await websocket.connect_websocket(url, ["v5.channel.k8s.io"])
    assert socket.protocol == "v5.channel.k8s.io"
    await socket.send(b"\x00hello")
    assert await socket.receive() == b"\x01hello"
    await socket.send(b"\xff\x00")  # stdin is closed
    status = await socket.receive()
    assert status is not None
    assert status[0] == 3
    assert json.loads(status[1:])["status"] == "Success"
    assert await socket.receive() is None
    await socket.close()


async def test_a_streaming_url_is_good_for_one_use(streaming: tuple[object, str]) -> None:
    shim, container_id = streaming
    request = cri.ExecRequest(container_id=container_id, cmd=["true"], stdout=True)
    url = (await shim.exec(request)).url  # type: ignore[attr-defined]
    socket = await websocket.connect_websocket(url, ["v4.channel.k8s.io"])
    await socket.close()
    for used in (url, url[:-1] + "x", url.rpartition("/")[0]):
        with pytest.raises(websocket.WebSocketError, match="404"):
            await websocket.connect_websocket(used, ["v4.channel.k8s.io"])


async def test_an_unknown_subprotocol_is_refused(streaming: tuple[object, str]) -> None:
    shim, container_id = streaming
    request = cri.ExecRequest(container_id=container_id, cmd=["true"], stdout=True)
    url = (await shim.exec(request)).url  # type: ignore[attr-defined]
    with pytest.raises(websocket.WebSocketError, match="400"):
        await websocket.connect_websocket(url, ["v9.channel.k8s.io"])


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"cmd": ["x"], "tty": True, "stderr": True, "stdout": True}, id="tty+stderr"),
        pytest.param({"cmd": ["x"]}, id="no stream"),
        pytest.param({"stdout": True}, id="no command"),
    ],
)
async def test_impossible_streams(streaming: tuple[object, str], fields: dict[str, object]) -> None:
    shim, container_id = streaming
    with pytest.raises(Exception, match=r"must be set|cannot both|is needed"):
        await shim.exec(cri.ExecRequest(container_id=container_id, **fields))  # type: ignore[attr-defined,arg-type]


def test_frames_are_packed_as_the_daemon_says() -> None:
    from runtime_shim import log_daemon

    assert log_daemon.FRAME.pack(1, 2) == struct.pack(">BI", 1, 2)
