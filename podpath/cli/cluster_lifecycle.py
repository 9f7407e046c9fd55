"""Creates and deletes clusters on containers; joins nodes to them.

Everything that is made carries the cluster's label, so that `delete` finds it without a record,
also after a `create` that failed half-way.
"""

import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from podpath.api import scheme
from podpath.api.errors import ApiError
from podpath.cli import (
    cluster_images,
    cluster_plan,
    container_services,
    join_token,
    loop,
    network,
)
from podpath.cli.cluster_engine import CLUSTER_LABEL, NODE_LABEL, ROLE_LABEL, Engine
from podpath.cli.cluster_plan import ClusterPlan
from podpath.cli.layout import ClusterError, Layout
from podpath.client import kubeconfig
from podpath.client.grpc import GrpcClient
from podpath.client.kubeconfig import KubeConfig
from podpath.component_base.clock import SystemClock

API_TIMEOUT_S = 60.0
NODES_TIMEOUT_S = 120.0
_POLL_S = 0.1
_PARALLEL = 4

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """A node's container as the engine sees it. `state` is running, paused, exited, ..."""

    name: str
    container: str
    state: str
    address: str
    runtime: str


def kubeconfig_path(root: Path, cluster: str) -> Path:
    """Where `create` leaves the administrator's kubeconfig on this machine."""
    return root / "containers" / cluster / "kubeconfig"


class Cluster:
    """One cluster on one engine."""

    def __init__(self, engine: Engine, name: str, root: Path, progress: Progress) -> None:
        """Raises: ClusterError for a bad name."""
        Layout(root, name)
        self.engine = engine
        self.name = name
        self.root = root
        self.control_plane = cluster_plan.control_plane_of(name)
        self._progress = progress

    # ------------------------------------------------------------ create and delete

    def exists(self) -> bool:
        return any(
            self.engine.names(kind, cluster_plan.labels(self.name))
            for kind in ("container", "network", "volume")
        )

    def create(self, plan: ClusterPlan, *, build: bool = True) -> None:
        """Until every node is Ready; on failure nothing is left. Raises: ClusterError.

        `build`: first makes the images that are missing or older than the sources.
        """
        if self.exists():
            raise ClusterError(
                f"cluster {self.name} exists; `podpath cluster delete --name {self.name}` first"
            )
        cluster_plan.limit_flags(plan)
        if build:
            cluster_images.ensure(self.engine, self._progress)
        try:
            self._create(plan)
        except BaseException:
            self._progress("failed: removing what was made")
            try:
                self.delete()
            except ClusterError as error:  # what went wrong first is told, too
                self._progress(f"not removed: {error}")
            raise

    def _create(self, plan: ClusterPlan) -> None:
        subnet = cluster_plan.free_subnet([*self.engine.subnets(), *network.routes()])
        name = cluster_plan.resource_name(self.name)
        labels = cluster_plan.label_flags(self.name)
        self.engine.run("network", "create", f"--subnet={subnet}", *labels, name)
        place = cluster_plan.control_plane_place(self.name, subnet)
        self._volume(place.container)
        https, grpc = network.free_ports(2)
        image = cluster_images.image_of(cluster_plan.CONTROL_PLANE)
        flags = self.engine.limits()
        self.engine.run(*cluster_plan.run_control_plane(plan, place, image, (https, grpc), flags))
        self._progress(f"{place.container} started")
        numbers = range(1, plan.nodes + 1)
        self._run_nodes(plan, subnet, numbers)
        self._fetch_kubeconfig(https, grpc)
        self._progress("the API server is ready")
        self._join([f"node-{number}" for number in numbers])

    def _volume(self, container: str) -> None:
        self.engine.run("volume", "create", *cluster_plan.label_flags(self.name), container)

    def _run_nodes(self, plan: ClusterPlan, subnet: str, numbers: Sequence[int]) -> None:
        image = cluster_images.image_of(cluster_plan.NODE)
        flags = [*self.engine.limits(), *self.engine.unconfined()]

        def start(number: int) -> None:
            place = cluster_plan.node_place(self.name, subnet, number)
            self._volume(place.container)
            self.engine.run(*cluster_plan.run_node(plan, place, image, flags))
            self._progress(f"{place.container} started")

        with ThreadPoolExecutor(_PARALLEL) as pool:
            list(pool.map(start, numbers))

    def delete(self) -> bool:
        """Removes everything that carries the label; False if there was nothing.

        Raises: ClusterError with all that could not be removed, after trying everything.
        """
        found, problems = False, []
        for kind, remove in (
            ("container", ("rm", "-f", "-v")),
            ("volume", ("volume", "rm")),
            ("network", ("network", "rm")),
        ):
            if names := self.engine.names(kind, cluster_plan.labels(self.name)):
                found = True
                try:
                    self.engine.run(*remove, *names)
                except ClusterError as error:
                    problems.append(str(error))
        shutil.rmtree(kubeconfig_path(self.root, self.name).parent, ignore_errors=True)
        if problems:
            raise ClusterError("; ".join(problems))
        return found

    # ------------------------------------------------------------ joining

    def add_nodes(self, count: int, runtime: str = "", cpus: str = "", memory: str = "") -> None:
        """Raises: ClusterError. A node that does not become Ready is removed again."""
        present = self.nodes()
        first = cluster_plan.next_number(node.name for node in present)
        plan = ClusterPlan(self.name, 0, runtime or self.runtime(), cpus, memory)
        cluster_plan.limit_flags(plan)
        numbers = range(first, first + count)
        names = [f"node-{number}" for number in numbers]
        try:
            self._run_nodes(plan, cluster_plan.subnet_of(self.address()), numbers)
            self._join(names)
        except BaseException:
            self._progress("failed: removing what was made")
            for name in names:
                self.remove_container(name)
            raise

    def remove_container(self, node: str) -> None:
        container = cluster_plan.node_container(self.name, node)
        self.engine.succeeds("rm", "-f", "-v", container)
        self.engine.succeeds("volume", "rm", container)

    def _join(self, nodes: Sequence[str]) -> None:
        if not nodes:
            return
        document = self._join_document()

        def hand_over(node: str) -> None:
            container = cluster_plan.node_container(self.name, node)
            self.engine.run("exec", "-i", container, "podpath-join", stdin=document)

        with ThreadPoolExecutor(_PARALLEL) as pool:
            list(pool.map(hand_over, nodes))
        self.wait_ready(nodes)

    def _join_document(self) -> bytes:
        """A kubeconfig with a fresh token, for use inside the cluster's network."""
        admin = self.kubeconfig()
        address = self.address()

        async def make() -> join_token.Token:
            async with GrpcClient(admin) as client:
                return await join_token.make(client, SystemClock().now())

        try:
            token = loop.run(make())
        except ApiError as error:
            raise ClusterError(f"no join token: {error}") from error
        config = KubeConfig(
            server=f"https://{address}:{container_services.HTTPS_PORT}",
            grpc_address=f"{address}:{container_services.GRPC_PORT}",
            grpc_token_address=f"{address}:{container_services.TOKEN_PORT}",
            ca=admin.ca,
            token=str(token),
        )
        return yaml.safe_dump(kubeconfig.to_document(config, "podpath")).encode()

    def wait_ready(self, nodes: Sequence[str], timeout_s: float = NODES_TIMEOUT_S) -> None:
        """Until these nodes are Ready. Raises: ClusterError."""
        loop.run(self._wait_ready(set(nodes), timeout_s))

    async def _wait_ready(self, waiting: set[str], timeout_s: float) -> None:
        clock = SystemClock()
        deadline = clock.monotonic() + timeout_s
        async with GrpcClient(self.kubeconfig()) as client:
            while waiting:
                try:
                    found = (await client.list(scheme.NODES)).items
                except ApiError as error:
                    raise ClusterError(f"nodes not listed: {error}") from error
                for node in found:
                    ready = any(
                        c.type == "Ready" and c.status == "True" for c in node.status.conditions
                    )
                    tainted = any(t.key == "node.kubernetes.io/not-ready" for t in node.spec.taints)
                    if node.metadata.name in waiting and ready and not tainted:
                        waiting.discard(node.metadata.name)
                        self._progress(f"node {node.metadata.name} is Ready")
                if waiting and clock.monotonic() > deadline:
                    await self._give_up(waiting, timeout_s)
                await clock.sleep(_POLL_S)

    async def _give_up(self, waiting: set[str], timeout_s: float) -> None:
        name = min(waiting)
        log = self._log_tail(cluster_plan.node_container(self.name, name), "kubelet")
        raise ClusterError(
            f"node {name} is not Ready after {timeout_s:.0f} s; its kubelet says:\n{log}"
        )

    def _log_tail(self, container: str, component: str) -> str:
        file = f"{container_services.LOGS}/{component}.log"
        try:
            return self.engine.run("exec", container, "tail", "-n3", file).strip()
        except ClusterError as error:
            return str(error)

    # ------------------------------------------------------------ looking

    def nodes(self) -> list[NodeInfo]:
        """Those that the engine knows, Ready or not."""
        found = []
        labels = cluster_plan.labels(self.name, cluster_plan.NODE)
        for container in self.engine.names("container", labels):
            details = self._inspect(container)
            own = details["Config"]["Labels"]
            found.append(
                NodeInfo(
                    own[NODE_LABEL],
                    container,
                    details["State"]["Status"],
                    own[cluster_plan.ADDRESS_LABEL],
                    own[cluster_plan.RUNTIME_LABEL],
                )
            )
        return sorted(found, key=lambda node: cluster_plan.next_number([node.name]))

    def node(self, name: str) -> NodeInfo:
        """Raises: ClusterError, which names those that there are."""
        present = self.nodes()
        for node in present:
            if node.name == name:
                return node
        names = ", ".join(node.name for node in present) or "none"
        raise ClusterError(f"cluster {self.name} has no node {name}; it has: {names}")

    def runtime(self) -> str:
        """What nodes have unless they were added with another one."""
        return self._label(cluster_plan.RUNTIME_LABEL)

    def address(self) -> str:
        """The control plane's, in the cluster's network."""
        return self._label(cluster_plan.ADDRESS_LABEL)

    def _label(self, label: str) -> str:
        return str(self._inspect(self.control_plane)["Config"]["Labels"][label])

    def _inspect(self, container: str) -> dict:  # type: ignore[type-arg]
        found = self.engine.inspect("container", container)
        if found is None:
            raise ClusterError(
                f"there is no cluster {self.name} on {self.engine.name}; "
                "`podpath cluster list` shows those that there are"
            )
        return found

    # ------------------------------------------------------------ kubeconfig

    def kubeconfig(self) -> KubeConfig:
        """The administrator's, for use on this machine. Raises: ClusterError."""
        path = kubeconfig_path(self.root, self.name)
        if not path.exists():
            ports = (self._label(cluster_plan.HTTPS_LABEL), self._label(cluster_plan.GRPC_LABEL))
            self._fetch_kubeconfig(*map(int, ports))
        return kubeconfig.load(path)

    def _fetch_kubeconfig(self, https: int, grpc: int) -> None:
        """Waits until the API server answers, and keeps how to reach it. Raises: ClusterError."""
        loop.run(self._fetch(https, grpc))

    async def _fetch(self, https: int, grpc: int) -> None:
        clock = SystemClock()
        deadline = clock.monotonic() + API_TIMEOUT_S
        path = kubeconfig_path(self.root, self.name)
        while True:
            try:
                text = self.engine.run(
                    "exec", self.control_plane, "cat", str(container_services.ADMIN)
                )
                break
            except ClusterError:
                if clock.monotonic() > deadline:
                    raise
                await clock.sleep(_POLL_S)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = path.with_name("inside")
        draft.touch(mode=0o600)
        draft.write_text(text)
        config = replace(
            kubeconfig.load(draft),
            server=f"https://127.0.0.1:{https}",
            grpc_address=f"127.0.0.1:{grpc}",
        )
        draft.unlink()
        async with GrpcClient(config) as client:
            while True:
                try:
                    await client.get(scheme.NAMESPACES, "", "kube-system")
                    break
                except ApiError as error:
                    if clock.monotonic() > deadline:
                        log = self._log_tail(self.control_plane, "apiserver")
                        message = f"the API server does not answer ({error}); it says:\n{log}"
                        raise ClusterError(message) from error
                    await clock.sleep(_POLL_S)
        kubeconfig.write(path, config, f"podpath-{self.name}")


def clusters(engine: Engine) -> dict[str, list[str]]:
    """Names of the clusters on the engine, with the states of their containers."""
    found: dict[str, list[str]] = {}
    for container in engine.names("container", [ROLE_LABEL]):
        details = engine.inspect("container", container)
        if details is not None:
            name = details["Config"]["Labels"].get(CLUSTER_LABEL, "")
            found.setdefault(name, []).append(details["State"]["Status"])
    return found
