"""The shim behind real sockets: who may call, and its streams."""

import json
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from podpath.component_base.clock import SystemClock
from podpath.component_base.streaming import websocket
from protos.cri import runtime_v1_pb2 as cri
from runtime_shim.server import serve
from runtime_shim.streaming import StreamingServer
from tests.support.shims import container_config, fake_shim, in_memory, sandbox_config

pytestmark = pytest.mark.integration


async def test_the_socket_is_its_owners_alone(tmp_path: Path) -> None:
    async with fake_shim(SystemClock()) as shim, serve(shim, tmp_path / "s.sock"):
        assert (tmp_path / "s.sock").stat().st_mode & 0o777 == 0o600


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


@pytest.mark.parametrize(
    ("protocols", "sent", "echoed"),
    [
        pytest.param(["channel.k8s.io"], b"\x00hello", b"\x01hello", id="v1"),
        pytest.param([], b"\x00hello", b"\x01hello", id="none named"),
        pytest.param(["base64.channel.k8s.io"], b"0aGVsbG8=", b"1aGVsbG8=", id="v1 base64"),
        pytest.param(["v4.base64.channel.k8s.io"], b"0aGVsbG8=", b"1aGVsbG8=", id="v4 base64"),
    ],
)
async def test_older_subprotocols(
    streaming: tuple[object, str], protocols: list[str], sent: bytes, echoed: bytes
) -> None:
    shim, container_id = streaming
    request = cri.ExecRequest(container_id=container_id, cmd=["cat"], stdin=True, stdout=True)
    url = (await shim.exec(request)).url  # type: ignore[attr-defined]
    socket = await websocket.connect_websocket(url, protocols)
    assert socket.protocol == "".join(protocols)
    await socket.send(sent)
    assert await socket.receive() == echoed
    await socket.close()


@pytest.mark.parametrize(
    ("protocol", "said"),
    [
        pytest.param("channel.k8s.io", b"command terminated with non-zero exit code", id="v1"),
        pytest.param("v4.channel.k8s.io", b'"reason":"NonZeroExitCode"', id="v4"),
    ],
)
async def test_how_a_failure_is_told(
    streaming: tuple[object, str], protocol: str, said: bytes
) -> None:
    shim, container_id = streaming
    request = cri.ExecRequest(container_id=container_id, cmd=["false"], stdout=True)
    url = (await shim.exec(request)).url  # type: ignore[attr-defined]
    socket = await websocket.connect_websocket(url, [protocol])
    told = await socket.receive()
    assert told is not None
    assert told[0] == 3
    assert said in told
    assert told[1:].startswith(b"{") is (protocol == "v4.channel.k8s.io")
    await socket.close()


async def test_a_stream_that_was_not_asked_for_is_not_sent(streaming: tuple[object, str]) -> None:
    shim, container_id = streaming
    request = cri.ExecRequest(container_id=container_id, cmd=["echo", "hello"], stderr=True)
    url = (await shim.exec(request)).url  # type: ignore[attr-defined]
    socket = await websocket.connect_websocket(url, ["v5.channel.k8s.io"])
    first = await socket.receive()
    assert first is not None
    assert first[0] == 3  # the status, and no output before it
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
    from runtime_shim import log_streams

    assert log_streams.FRAME.pack(1, 2) == struct.pack(">BI", 1, 2)
