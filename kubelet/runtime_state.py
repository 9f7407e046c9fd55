"""Whether the container runtime can be used: checked at the start and every 5 s.

Source: pkg/kubelet/runtime.go, kubelet.go (updateRuntimeUp), kuberuntime_manager.go (Version).
"""

import logging

from kubelet.cri_client import Cri, CriError
from podpath.component_base.clock import Clock
from protos.cri import runtime_v1_pb2 as cri

log = logging.getLogger(__name__)

API_VERSION = "0.1.0"
CHECK_S = 5.0
CONNECT_RETRY_S = 1.0
CONFIG_TRIES = 3
_NEEDED = {
    "RuntimeReady": "container runtime is down",
    "NetworkReady": "container runtime network not ready",
}


class RuntimeState:
    """What the runtime says of itself."""

    def __init__(self, runtime: Cri, clock: Clock, check_s: float = CHECK_S) -> None:
        self._cri = runtime
        self._clock = clock
        self._check_s = check_s
        self.name = ""
        self.version = ""
        self.systemd_cgroups: bool | None = None
        self.problems: tuple[str, ...] = (
            "container runtime status check may not have completed yet",
        )

    async def connect(self) -> None:
        """Waits for the runtime and asks, in upstream's order: Version, RuntimeConfig, Version,
        Status."""
        while True:
            try:
                await self._ask_version()
                await self._ask_config()
                await self._ask_version()
                await self.check()
            except CriError as error:
                log.warning("the runtime does not answer yet", extra={"error": str(error)})
                await self._clock.sleep(CONNECT_RETRY_S)
            else:
                return

    async def run(self) -> None:
        """Checks until cancelled."""
        while True:
            await self._clock.sleep(self._check_s)
            await self.check()

    async def check(self) -> None:
        """One Status call; its outcome is in `problems`."""
        try:
            status = (await self._cri.Status(cri.StatusRequest())).status
        except CriError as error:
            self.problems = (f"container runtime is down: {error}",)
            return
        found = {c.type: c for c in status.conditions}
        problems = []
        for type_, complaint in _NEEDED.items():
            condition = found.get(type_)
            if condition is None or not condition.status:
                reason = condition.reason if condition is not None else ""
                message = condition.message if condition is not None else ""
                problems.append(f"{complaint}: {type_}=false reason:{reason} message:{message}")
        self.problems = tuple(problems)

    async def _ask_version(self) -> None:
        answer = await self._cri.Version(cri.VersionRequest(version=API_VERSION))
        if answer.version != API_VERSION or not answer.runtime_name:
            raise CriError(
                "FAILED_PRECONDITION",
                f"runtime {answer.runtime_name!r} speaks kubelet API version {answer.version!r}, "
                f"expected {API_VERSION}",
            )
        self.name = answer.runtime_name
        self.version = f"{answer.runtime_name}://{answer.runtime_version}"

    async def _ask_config(self) -> None:
        for attempt in range(CONFIG_TRIES):
            try:
                answer = await self._cri.RuntimeConfig(cri.RuntimeConfigRequest())
            except CriError as error:
                if error.code == "UNIMPLEMENTED":
                    return
                if attempt == CONFIG_TRIES - 1:
                    raise
            else:
                self.systemd_cgroups = answer.linux.cgroup_driver == cri.SYSTEMD
                return
