"""The kubelet's main loop: what happened, and to which Pod's worker it goes.

    API server ──pod_changed/pod_gone──┐
    runtime    ──PLEG──────────────────┼──> workers
    probes     ──verdicts──────────────┤
    timers     ──resync, back-off──────┘        housekeeping: orphans, garbage

Source: pkg/kubelet/kubelet.go (syncLoop, HandlePod*), kubelet_pods.go (HandlePodCleanups).
"""

import logging
from collections.abc import Callable

from kubelet.backoff import Backoff
from kubelet.container_gc import ContainerGc, orphan
from kubelet.pleg import Pleg
from kubelet.pod_dirs import PodFiles
from kubelet.pod_record import PodRecord
from kubelet.pod_workers import PodWorkers
from kubelet.probes.prober import Prober
from kubelet.runtime_config import pod_log_directory
from kubelet.status_manager import StatusManager
from kubelet.volume_payload import VolumeError
from kubelet.volumes import Volumes
from podpath.component_base.clock import Clock
from protos.k8s import core_v1_pb2 as core

log = logging.getLogger(__name__)

HOUSEKEEPING_S = 2.0
# A sandbox that its Pod's worker has just made may be seen before the Pod is known here.
ORPHAN_AGE_S = 5.0
GC_S = 60.0


class SyncLoop:
    """Implements PodReceiver."""

    def __init__(
        self,
        workers: PodWorkers,
        pleg: Pleg,
        statuses: StatusManager,
        gc: ContainerGc,
        files: PodFiles,
        clock: Clock,
        housekeeping_s: float = HOUSEKEEPING_S,
    ) -> None:
        self._workers = workers
        self._pleg = pleg
        self._statuses = statuses
        self._gc = gc
        self._files = files
        self._clock = clock
        self._housekeeping_s = housekeeping_s
        self._orphans: dict[str, float] = {}
        self._collected_at = clock.monotonic()

    def pod_changed(self, pod: core.Pod) -> None:
        self._statuses.observe(pod)
        self._workers.update(pod)

    def pod_gone(self, pod: core.Pod) -> None:
        self._workers.remove(pod.metadata.uid)

    def runtime_changed(self, uid: str) -> None:
        self._workers.poke(uid)

    async def housekeeping(self) -> None:
        """Runs until cancelled; start it once all Pods of the API server have been told."""
        self._remove_orphaned_directories()
        while True:
            self._adopt_orphans()
            now = self._clock.monotonic()
            if now - self._collected_at >= GC_S:
                self._collected_at = now
                await self._gc.collect(self._pleg.uids())
                self._remove_orphaned_directories()
            await self._clock.sleep(self._housekeeping_s)

    def _adopt_orphans(self) -> None:
        """Ends what the runtime has and the API server has not."""
        unknown = [uid for uid in self._pleg.uids() if uid not in self._workers]
        now = self._clock.monotonic()
        self._orphans = {uid: self._orphans.get(uid, now) for uid in unknown}
        for uid, since in self._orphans.items():
            if now - since >= ORPHAN_AGE_S or not self._pleg.get(uid).running:
                log.info("a Pod that only the runtime has is ended", extra={"uid": uid})
                self._workers.adopt(orphan(self._pleg.get(uid)))

    def _remove_orphaned_directories(self) -> None:
        known = set(self._pleg.uids())
        for uid in self._files.pods():
            if uid not in self._workers and uid not in known:
                try:
                    self._files.remove_pod(uid)
                except (VolumeError, OSError) as error:
                    log.warning("directory not removed", extra={"uid": uid, "error": str(error)})


class Forgetting:
    """What is done when a Pod has left for good."""

    def __init__(
        self,
        gc: ContainerGc,
        files: PodFiles,
        volumes: Volumes,
        statuses: StatusManager,
        prober: Prober,
        backoffs: tuple[Backoff, ...],
        pod_logs_dir: str,
        spawn: Callable[..., object],
    ) -> None:
        self._gc = gc
        self._files = files
        self._volumes = volumes
        self._statuses = statuses
        self._prober = prober
        self._backoffs = backoffs
        self._pod_logs_dir = pod_logs_dir
        self._spawn = spawn

    def forget(self, record: PodRecord) -> None:
        uid = record.uid
        self._prober.remove_pod(uid)
        self._statuses.forget(uid)
        self._volumes.forget(uid)
        for backoff in self._backoffs:
            backoff.forget_pod(uid)
        self._spawn(self._remove(record))

    async def _remove(self, record: PodRecord) -> None:
        await self._gc.remove_pod(record.uid)
        try:
            self._files.remove_pod(record.uid)
        except (VolumeError, OSError) as error:
            log.warning("directory not removed", extra={"uid": record.uid, "error": str(error)})
        if record.pod.metadata.name:
            self._files.remove_logs(pod_log_directory(self._pod_logs_dir, record.pod))
