"""What survives the shim's death: a journal of records, one file, appended to.

Each entry is `length, crc32, body`; the body is an operation byte and the record. A torn or
damaged tail (the shim was killed in the middle of a write) is cut off when the file is read. When
most of the file is history it is rewritten beside itself and renamed into place.

fsync policy: none. A write that reached the kernel survives `kill -9` of the shim, and no
container survives a crash of the machine, so what a lost page would describe is gone as well.
"""

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import orjson

from protos.cri import runtime_v1_pb2 as cri
from runtime_shim.state import ContainerRecord, SandboxRecord

_HEAD = struct.Struct(">II")
_PUT_SANDBOX, _PUT_CONTAINER, _DELETE, _NOTE = b"S", b"C", b"D", b"N"
_SANDBOX_FIELDS = ("id", "handler", "created_at", "ips", "stopped_at", "engine")
_CONTAINER_FIELDS = (
    "id",
    "sandbox_id",
    "handler",
    "image_id",
    "image_ref",
    "log_path",
    "created_at",
    "started_at",
    "finished_at",
    "exit_code",
    "reason",
    "message",
    "lost",
    "engine",
)
Record = SandboxRecord | ContainerRecord


class Checkpoints(Protocol):
    """Where records are kept."""

    def load(self) -> list[Record]:
        """Every record put and not deleted, sandboxes before containers."""

    def put(self, record: Record) -> None:
        """Keeps the record as it is now, in place of what was kept before."""

    def delete(self, record_id: str) -> None:
        """Forgets it. Unknown ids are ignored."""

    def note(self, key: str, value: str) -> None:
        """Keeps a fact about the whole shim, for example the Pod CIDR."""

    def notes(self) -> dict[str, str]:
        """All facts, once `load` has been called."""

    def close(self) -> None: ...


class MemoryCheckpoints:
    """Keeps nothing: for shims that live and die with one process (hollow nodes)."""

    def load(self) -> list[Record]:
        return []

    def put(self, record: Record) -> None:
        pass

    def delete(self, record_id: str) -> None:
        pass

    def note(self, key: str, value: str) -> None:
        pass

    def notes(self) -> dict[str, str]:
        return {}

    def close(self) -> None:
        pass


class JournalCheckpoints:
    """The journal described above."""

    def __init__(self, path: Path, compact_at_bytes: int = 4 << 20) -> None:
        self._path = path
        self._compact_at = compact_at_bytes
        self._live: dict[str, bytes] = {}
        self._notes: dict[str, str] = {}
        self._live_bytes = 0
        self._file_bytes = 0
        self._fd = -1

    def load(self) -> list[Record]:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        content = self._path.read_bytes() if self._path.exists() else b""
        good = 0
        for body, good in _entries(content):  # noqa: B007  the last `good` is used below
            self._replay(body)
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        os.ftruncate(self._fd, good)
        self._file_bytes = good
        self._live_bytes = sum(len(body) for body in self._live.values())
        records = [decode(body) for body in self._live.values()]
        return sorted(records, key=lambda r: (isinstance(r, ContainerRecord), r.created_at))

    def put(self, record: Record) -> None:
        body = encode(record)
        self._live_bytes += len(body) - len(self._live.get(record.id, b""))
        self._live[record.id] = body
        self._append(body)

    def delete(self, record_id: str) -> None:
        gone = self._live.pop(record_id, None)
        if gone is not None:
            self._live_bytes -= len(gone)
            self._append(_DELETE + record_id.encode())

    def note(self, key: str, value: str) -> None:
        if self._notes.get(key) != value:
            self._notes[key] = value
            self._append(_NOTE + orjson.dumps([key, value]))

    def notes(self) -> dict[str, str]:
        return self._notes

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _replay(self, body: bytes) -> None:
        kind, rest = body[:1], body[1:]
        if kind == _DELETE:
            self._live.pop(rest.decode(), None)
        elif kind == _NOTE:
            key, value = orjson.loads(rest)
            self._notes[key] = value
        else:
            self._live[_fields(body)[0]["id"]] = body

    def _append(self, body: bytes) -> None:
        entry = _HEAD.pack(len(body), zlib.crc32(body)) + body
        os.write(self._fd, entry)
        self._file_bytes += len(entry)
        if self._file_bytes > self._compact_at and self._file_bytes > 4 * self._live_bytes:
            self._compact()

    def _compact(self) -> None:
        bodies = [*self._live.values()]
        bodies += [_NOTE + orjson.dumps([k, v]) for k, v in self._notes.items()]
        content = b"".join(_HEAD.pack(len(b), zlib.crc32(b)) + b for b in bodies)
        beside = self._path.with_suffix(".new")
        fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(content)
        os.rename(beside, self._path)
        os.close(self._fd)
        self._fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        self._file_bytes = len(content)


def encode(record: Record) -> bytes:
    """A record as bytes; `decode` reads them."""
    sandbox = isinstance(record, SandboxRecord)
    names = _SANDBOX_FIELDS if sandbox else _CONTAINER_FIELDS
    head = orjson.dumps({name: getattr(record, name) for name in names})
    kind = _PUT_SANDBOX if sandbox else _PUT_CONTAINER
    return kind + head + b"\0" + record.config.SerializeToString()


def decode(body: bytes) -> Record:
    values, config = _fields(body)
    if body[:1] == _PUT_SANDBOX:
        values["ips"] = tuple(values["ips"])
        return SandboxRecord(config=cri.PodSandboxConfig.FromString(config), **values)
    record = ContainerRecord(config=cri.ContainerConfig.FromString(config), **values)
    if record.finished_at:
        record.exited.set()
    return record


def _fields(body: bytes) -> tuple[dict[str, Any], bytes]:
    head, _, config = body[1:].partition(b"\0")  # JSON has no NUL byte
    return orjson.loads(head), config


def _entries(content: bytes) -> Iterator[tuple[bytes, int]]:
    """(body, end of the entry), up to the first entry that is not whole."""
    at = 0
    while at + _HEAD.size <= len(content):
        length, checksum = _HEAD.unpack_from(content, at)
        body = content[at + _HEAD.size : at + _HEAD.size + length]
        if len(body) != length or zlib.crc32(body) != checksum:
            return
        at += _HEAD.size + length
        yield body, at
