"""Keeps containers' logs small: the current file is moved aside, older ones are packed or removed.

    0.log                        what the runtime writes; moved when it has grown to `max_bytes`
    0.log.20260102-150405        moved last; plain, so that whoever follows it can read to its end
    0.log.20260102-140000.gz     older ones, packed
    ...                          at most `max_files` in all

Source: pkg/kubelet/logs/container_log_manager.go.
"""

import asyncio
import gzip
import logging
import shutil
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kubelet.cri_client import Cri, CriError
from podpath.component_base.clock import Clock
from protos.cri import runtime_v1_pb2 as cri

log = logging.getLogger(__name__)

_PACKED, _DRAFT = ".gz", ".tmp"


@dataclass(frozen=True, slots=True)
class LogPolicy:
    """`max_files` counts the current one and must exceed 1; `max_bytes` is positive."""

    max_bytes: int = 10 << 20
    max_files: int = 5
    period_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of a log's older files, by name."""

    remove: tuple[str, ...]
    pack: tuple[str, ...]


def plan(older: Iterable[str], max_files: int) -> Plan:
    """Before the current file joins them. Pure.

    Drafts of a kubelet that died, and plain files that were packed already, go as well as those
    that are too many: the current file and the one that follows it have their places.
    """
    names = set(older)
    useless = {n for n in names if n.endswith(_DRAFT) or n + _PACKED in names}
    kept = sorted(names - useless)
    excess = kept[: max(0, len(kept) - (max_files - 2))]
    rest = kept[len(excess) :]
    pack = tuple(n for n in rest if not n.endswith(_PACKED))
    return Plan(tuple(sorted(useless)) + tuple(excess), pack)


class ContainerLogManager:
    """Looks at the logs of one node's running containers every period."""

    def __init__(
        self,
        runtime: Cri,
        running: Callable[[], Sequence[cri.ContainerStatus]],
        policy: LogPolicy,
        clock: Clock,
    ) -> None:
        self._cri = runtime
        self._running = running
        self._policy = policy
        self._clock = clock

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._clock.sleep(self._policy.period_s)
            for container in self._running():
                if container.log_path:
                    await self._look_at(container)

    async def _look_at(self, container: cri.ContainerStatus) -> None:
        path = Path(container.log_path)
        try:
            if not path.exists():
                # Moved by a kubelet that died then: the runtime still writes to where it went.
                await self._reopen(container.id)
            elif path.stat().st_size >= self._policy.max_bytes:
                await self.rotate(container.id, path)
        except (CriError, OSError) as error:
            log.warning("log not rotated", extra={"path": str(path), "error": str(error)})

    async def rotate(self, container_id: str, path: Path) -> None:
        """Raises: OSError, CriError; the current file is in its place then."""
        older = [p.name for p in older_logs(path)]
        moved = path.with_name(f"{path.name}.{self._clock.now():%Y%m%d-%H%M%S}")
        if any(name.startswith(moved.name) for name in older):
            return  # one of this very second, perhaps packed by now: at the next look
        planned = plan(older, self._policy.max_files)
        for name in planned.remove:
            path.with_name(name).unlink(missing_ok=True)
        for name in planned.pack:
            await asyncio.to_thread(_pack, path.with_name(name))
        path.rename(moved)
        try:
            await self._reopen(container_id)
        except CriError:
            # The runtime goes on with the file that it has open: it keeps its name.
            with suppress(OSError):
                moved.rename(path)
            raise

    async def _reopen(self, container_id: str) -> None:
        request = cri.ReopenContainerLogRequest(container_id=container_id)
        await self._cri.ReopenContainerLog(request)


def older_logs(path: Path) -> list[Path]:
    """The files of a log that were moved aside, packed or not."""
    try:
        return [p for p in path.parent.iterdir() if p.name.startswith(path.name + ".")]
    except FileNotFoundError:
        return []


def _pack(path: Path) -> None:
    """Whole or not at all."""
    draft = path.with_name(path.name + _DRAFT)
    with path.open("rb") as plain, gzip.open(draft, "wb") as packed:
        shutil.copyfileobj(plain, packed)
    shutil.copymode(path, draft)
    draft.rename(path.with_name(path.name + _PACKED))
    path.unlink()
