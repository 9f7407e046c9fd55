"""Running programs: always an argument list, a clean environment and a time limit."""

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from runtime_shim import child
from runtime_shim.errors import Code, CriError

_log = logging.getLogger(__name__)

DEFAULT_TIMEOUT_S = 60.0
LOOK_EVERY_S = 0.5
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "GOGC": "400",
}
"""Never our own, which may be private. GOGC: nerdctl would spend a quarter of its CPU time on
collecting the garbage of a life of 50 ms."""


@dataclass(frozen=True, slots=True)
class Finished:
    """What a program left behind."""

    code: int
    stdout: bytes
    stderr: bytes

    def complaint(self) -> str:
        """The last thing it said on standard error, without nerdctl's and runc's log framing."""
        lines = [line for line in self.stderr.decode(errors="replace").splitlines() if line]
        fatal = [line for line in lines if "level=fatal" in line or "level=error" in line]
        line = (fatal or lines or [f"exit code {self.code}"])[-1]
        _, found, message = line.partition("msg=")
        return message.strip('"').replace('\\"', '"').replace("\\n", " ") if found else line


async def run(
    argv: Sequence[str],
    *,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    stdin: bytes | None = None,
    environment: Mapping[str, str] | None = None,
    moved: Callable[[bytes], bool] | None = None,
) -> Finished:
    """Runs to the end; a non-zero code is data. Killed when the time is over or it is cancelled.

    `moved` sees what it says on standard error, while it runs; when it returns True the time
    begins anew.

    Raises: CriError DEADLINE_EXCEEDED, UNAVAILABLE (the program is missing), INVALID_ARGUMENT
    (more arguments than the kernel takes).
    """
    with _Files(stdin or b"") as files:
        streams = (files.stdin, files.stdout, files.stderr)
        process = child.spawn(argv, streams, ENVIRONMENT | dict(environment or {}))
        try:
            await _wait(process, timeout_s, files.stderr, moved)
        except TimeoutError:
            raise CriError(
                Code.DEADLINE_EXCEEDED, f"{_words(argv)} took longer than {timeout_s:g} s"
            ) from None
        finally:
            if process.returncode is None:
                process.kill()
                await asyncio.shield(process.wait())
        stdout, stderr = _content(files.stdout), _content(files.stderr)
    finished = Finished(process.returncode or 0, stdout, stderr)
    _log.debug("ran", extra={"argv": _words(argv), "code": finished.code})
    return finished


async def _wait(
    process: child.Child,
    timeout_s: float,
    stderr: int,
    moved: Callable[[bytes], bool] | None,
) -> None:
    """Raises: TimeoutError."""
    async with asyncio.timeout(timeout_s) as limit:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await process.wait()
                    return
            if moved is not None and moved(_content(stderr)):
                limit.reschedule(asyncio.get_running_loop().time() + timeout_s)


async def must(
    argv: Sequence[str],
    *,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    stdin: bytes | None = None,
    environment: Mapping[str, str] | None = None,
) -> bytes:
    """Standard output of a program that succeeds. Raises: CriError UNKNOWN with its complaint."""
    finished = await run(argv, timeout_s=timeout_s, stdin=stdin, environment=environment)
    if finished.code != 0:
        raise CriError(Code.UNKNOWN, f"{_words(argv)}: {finished.complaint()}")
    return finished.stdout


class _Files:
    """A program's streams as files in memory. Pipes would kill it (SIGPIPE), in the middle of what
    it does, when this process dies."""

    def __init__(self, given: bytes) -> None:
        self._given = given

    def __enter__(self) -> Self:
        self.stdin, self.stdout, self.stderr = (
            os.memfd_create(name, os.MFD_CLOEXEC) for name in ("stdin", "stdout", "stderr")
        )
        os.write(self.stdin, self._given)
        os.lseek(self.stdin, 0, os.SEEK_SET)
        return self

    def __exit__(self, *_: object) -> None:
        for fd in (self.stdin, self.stdout, self.stderr):
            os.close(fd)


def _content(fd: int) -> bytes:
    return os.pread(fd, os.fstat(fd).st_size, 0)


def _words(argv: Sequence[str]) -> str:
    """The program and its command, without flags (which may be long or private)."""
    words = [word for word in argv[1:] if not word.startswith("-")]
    return " ".join([os.path.basename(argv[0]), *words[:1]])


def json_entries(text: bytes) -> list[Any]:
    """The elements of every JSON array in `text`, one array after another.

    nerdctl prints one array for each thing that it was asked to inspect. Raises: ValueError.
    """
    decoder = json.JSONDecoder()
    rest = text.decode()
    entries: list[Any] = []
    while rest := rest.lstrip():
        found, end = decoder.raw_decode(rest)
        entries += found or []
        rest = rest[end:]
    return entries
