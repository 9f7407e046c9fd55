"""Calls to another CRI server: each one recorded and, where that is asked for, spoilt.

A record is one JSON object a line: `at` (Unix seconds), `rpc`, `request` and `response` (the
messages' JSON form), `code`, `ms`. `podpath cri replay` plays such a file.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import grpc
import grpc.aio
import orjson
from google.protobuf import json_format
from google.protobuf.message import Message

from podpath.component_base.clock import Clock
from protos.cri import runtime_v1_pb2 as cri
from protos.cri import runtime_v1_pb2_grpc as services
from runtime_shim.errors import Code, CriError, invalid

CALL_TIMEOUT_S = 150.0
"""Longer than any kubelet waits; a stop adds its grace period."""
MAX_MESSAGE_BYTES = 16 << 20
_CODES = {code.value: code for code in Code}
_SECRETS = frozenset({"auth"})


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to a call: it is delayed, then fails with `code` unless that is None."""

    code: Code | None
    probability: float
    delay_s: float


def parse_faults(text: str) -> dict[str, Fault]:
    """`RunPodSandbox=UNAVAILABLE:0.5;StartContainer=OK:1:0.2`. Raises: CriError."""
    faults = {}
    for part in filter(None, (p.strip() for p in text.split(";"))):
        rpc, equals, rest = part.partition("=")
        code, *numbers = rest.split(":")
        try:
            probability, delay_s = (*map(float, numbers), *(1.0, 0.0)[len(numbers) :])
            found = None if code == "OK" else Code[code]
        except (ValueError, KeyError):
            equals = ""
        if not equals or not rpc:
            raise invalid(f"fault {part!r}: expected RPC=CODE[:PROBABILITY][:DELAY_S]")
        faults[rpc] = Fault(found, probability, delay_s)
    return faults


class RemoteCri:
    """One CRI server. Raises: CriError with the server's own code and message."""

    def __init__(
        self, endpoint: str, clock: Clock, *, record: str, faults: str, dice: random.Random
    ) -> None:
        if not endpoint.startswith("unix://"):
            raise invalid(f"proxy endpoint {endpoint!r}: expected unix:///PATH")
        self._endpoint = endpoint
        self._clock = clock
        self._faults = parse_faults(faults)
        self._dice = dice
        self._record: TextIO | None = None
        if record:
            path = Path(record)
            path.touch(mode=0o600)
            self._record = path.open("a", encoding="utf-8")
        self._channel: grpc.aio.Channel | None = None

    def open(self) -> None:
        self._channel = grpc.aio.insecure_channel(
            self._endpoint,
            options=[
                ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
                ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            ],
        )
        self._runtime = services.RuntimeServiceStub(self._channel)
        self._images = services.ImageServiceStub(self._channel)

    async def close(self) -> None:
        if self._channel is not None:
            await self._channel.close(None)
        if self._record is not None:
            self._record.close()

    async def call(self, rpc: str, request: Message, *, extra_s: float = 0) -> Any:
        """One unary call by its CRI name; its response."""
        stub = self._images if hasattr(self._images, rpc) else self._runtime
        begun = self._clock.monotonic()
        response: Message | None = None
        error: CriError | None = None
        try:
            await self._spoil(rpc)
            response = await getattr(stub, rpc)(request, timeout=CALL_TIMEOUT_S + extra_s)
        except CriError as fault:
            error = fault
        except grpc.aio.AioRpcError as failure:
            code = _CODES.get(failure.code().value[0], Code.UNKNOWN)
            error = CriError(code, failure.details() or "")
        self._write(rpc, request, response, error, self._clock.monotonic() - begun)
        if error is not None:
            raise error
        return response

    async def events(self) -> AsyncIterator[cri.ContainerEventResponse]:
        """Raises: CriError, UNIMPLEMENTED where the server has no events."""
        try:
            async for event in self._runtime.GetContainerEvents(cri.GetEventsRequest()):
                yield event
        except grpc.aio.AioRpcError as failure:
            code = _CODES.get(failure.code().value[0], Code.UNKNOWN)
            raise CriError(code, failure.details() or "") from None

    async def _spoil(self, rpc: str) -> None:
        fault = self._faults.get(rpc)
        if fault is None or self._dice.random() >= fault.probability:
            return
        await asyncio.sleep(fault.delay_s)
        if fault.code is not None:
            raise CriError(fault.code, f"{rpc}: a fault that was asked for")

    def _write(
        self,
        rpc: str,
        request: Message,
        response: Message | None,
        error: CriError | None,
        seconds: float,
    ) -> None:
        if self._record is None:
            return
        asked = json_format.MessageToDict(request, preserving_proto_field_name=True)
        entry: dict[str, Any] = {
            "at": self._clock.now().timestamp(),
            "rpc": rpc,
            "request": {k: "(hidden)" if k in _SECRETS else v for k, v in asked.items()},
            "code": error.code.name if error else "OK",
            "ms": round(seconds * 1000, 1),
        }
        if response is not None:
            entry["response"] = json_format.MessageToDict(
                response, preserving_proto_field_name=True
            )
        if error is not None:
            entry["message"] = error.message
        self._record.write(orjson.dumps(entry).decode() + "\n")
        self._record.flush()
