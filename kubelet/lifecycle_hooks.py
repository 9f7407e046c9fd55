"""postStart and preStop handlers: exec, http, sleep.

Source: pkg/kubelet/lifecycle/handlers.go.
"""

from kubelet.cri_client import Cri, CriError
from kubelet.probes.network import NetworkProbes, resolve_port
from podpath.component_base.clock import Clock
from protos.cri import runtime_v1_pb2 as cri
from protos.k8s import core_v1_pb2 as core


class HookError(Exception):
    """The handler failed; the message is for the event and the status."""


class LifecycleHooks:
    """Runs handlers of containers of this node."""

    def __init__(self, runtime: Cri, network: NetworkProbes, clock: Clock) -> None:
        self._cri = runtime
        self._network = network
        self._clock = clock

    async def run(
        self,
        handler: core.LifecycleHandler,
        container: core.Container,
        container_id: str,
        pod_ip: str,
    ) -> None:
        """Returns when the handler is done. Raises: HookError. The caller sets a time limit."""
        if handler.HasField("exec"):
            await self._exec(list(handler.exec.command), container, container_id)
        elif handler.HasField("httpGet"):
            await self._http(handler.httpGet, container, pod_ip)
        elif handler.HasField("sleep"):
            await self._clock.sleep(handler.sleep.seconds)
        else:
            raise HookError(f"invalid handler of container {container.name}: cannot run it")

    async def _exec(self, command: list[str], container: core.Container, container_id: str) -> None:
        try:
            result = await self._cri.ExecSync(
                cri.ExecSyncRequest(container_id=container_id, cmd=command)
            )
        except CriError as error:
            raise HookError(f"Exec lifecycle hook ({command}) failed: {error}") from error
        if result.exit_code:
            output = result.stderr.decode("utf-8", "replace")
            raise HookError(
                f"command '{' '.join(command)}' exited with {result.exit_code}: {output}"
            )

    async def _http(self, get: core.HTTPGetAction, container: core.Container, pod_ip: str) -> None:
        port = resolve_port(get.port, container)
        if port is None:
            raise HookError(f"container {container.name} has no port named {get.port.strVal!r}")
        outcome = await self._network.http(
            get, host=get.host or pod_ip, port=port, timeout_s=float("inf"), agent="kube-lifecycle"
        )
        if not outcome.ok:
            raise HookError(outcome.output)
