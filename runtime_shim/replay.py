"""Plays a recorded caller's CRI calls against another server, and tells what differs.

Ids that the server gave out then stand for those that it gives out now. A difference is another
code, a field that only one of the two answers has, or another value of a field that a runtime does
not choose freely (states, exit codes, names). Times, addresses and ids may differ.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import orjson
from google.protobuf import json_format, message_factory
from google.protobuf.message import Message

from protos.cri import runtime_v1_pb2 as cri
from runtime_shim.errors import CriError, invalid

_IDS = {"RunPodSandbox": "pod_sandbox_id", "CreateContainer": "container_id"}
_COMPARED = frozenset({"state", "exit_code", "reason", "name", "namespace", "attempt", "status"})
_NOT_PLAYED = frozenset({"Exec", "Attach", "PortForward"})
"""Their answers are URLs for one use: there is nobody here to use them."""

_METHODS = {
    method.name: method
    for service in cri.DESCRIPTOR.services_by_name.values()
    for method in service.methods
    if not method.server_streaming
}


class Caller(Protocol):
    """Whom the calls go to; remote_cri.RemoteCri is one."""

    async def call(self, rpc: str, request: Message) -> Any:
        """Raises: CriError."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What the two servers did not agree about. `entry` is the line of the file, from 1."""

    entry: int
    rpc: str
    what: str


def read(lines: Iterable[bytes]) -> Iterator[Mapping[str, Any]]:
    """The recorded calls. Raises: CriError naming the line that is none."""
    for number, line in enumerate(lines, 1):
        try:
            entry = orjson.loads(line)
            known = entry["rpc"] in _METHODS and isinstance(entry["request"], dict)
        except (ValueError, KeyError, TypeError):
            known = False
        if not known:
            raise invalid(f"line {number} is not a recorded CRI call")
        yield entry


async def play(entries: Iterable[Mapping[str, Any]], server: Caller) -> list[Difference]:
    """Plays all, one after another; the differences in order."""
    ids: dict[str, str] = {}
    differences: list[Difference] = []
    for number, entry in enumerate(entries, 1):
        rpc = entry["rpc"]
        if rpc in _NOT_PLAYED:
            continue
        code, answer = await _call(server, rpc, renamed(entry["request"], ids))
        recorded = entry.get("response", {})
        if rpc in _IDS and _IDS[rpc] in recorded and _IDS[rpc] in answer:
            ids[recorded[_IDS[rpc]]] = answer[_IDS[rpc]]
        if code != entry["code"]:
            differences.append(Difference(number, rpc, f"code {entry['code']} became {code}"))
        else:
            found = compare(renamed(recorded, ids), answer)
            differences += [Difference(number, rpc, what) for what in found]
    return differences


async def _call(server: Caller, rpc: str, tree: Any) -> tuple[str, dict[str, Any]]:
    request = message_factory.GetMessageClass(_METHODS[rpc].input_type)()
    # What was hidden in the record is not a message any more and stays away.
    fields = {k: v for k, v in tree.items() if v != "(hidden)"}
    json_format.ParseDict(fields, request, ignore_unknown_fields=True)
    try:
        response = await server.call(rpc, request)
    except CriError as error:
        return error.code.name, {}
    return "OK", json_format.MessageToDict(response, preserving_proto_field_name=True)


def renamed(tree: Any, ids: Mapping[str, str]) -> Any:
    """`tree` with every id that stands for another one replaced."""
    if isinstance(tree, dict):
        return {key: renamed(value, ids) for key, value in tree.items()}
    if isinstance(tree, list):
        return [renamed(value, ids) for value in tree]
    return ids.get(tree, tree) if isinstance(tree, str) else tree


def compare(recorded: Any, now: Any, path: str = "") -> list[str]:
    """What differs, as sentences. Lists are compared only as far as both go."""
    if isinstance(recorded, dict) and isinstance(now, dict):
        found: list[str] = []
        for key in sorted(recorded.keys() | now.keys()):
            here = f"{path}.{key}" if path else key
            if key not in now:
                found.append(f"{here} is missing")
            elif key not in recorded:
                found.append(f"{here} is new")
            else:
                found += compare(recorded[key], now[key], here)
        return found
    if isinstance(recorded, list) and isinstance(now, list):
        pairs = zip(recorded, now, strict=False)
        return [what for a, b in pairs for what in compare(a, b, f"{path}[]")]
    if path.rpartition(".")[2] in _COMPARED and recorded != now:
        return [f"{path}: {recorded!r} became {now!r}"]
    return []
