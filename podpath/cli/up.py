"""`podpath up`: a whole cluster on this machine, or the one from last time going on."""

import http.client
import os
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import yaml

from podpath.api import scheme
from podpath.cli import components, containerd, diagnostics, loop, network
from podpath.cli.layout import ClusterError, ClusterState, Layout, Node, clusters
from podpath.cli.processes import Processes, ProcessSpec
from podpath.client import kubeconfig
from podpath.client.grpc import GrpcClient
from podpath.component_base import binaries, image_tar, pki
from podpath.component_base.clock import SystemClock
from podpath.component_base.tracing import TracingConfiguration
from protos.k8s import core_v1_pb2

READY_TIMEOUT_S = 60.0
EXAMPLE_IMAGES = ("podpath/busybox:1.35", "podpath/busybox:1.36")
"""One image under two tags, so that a rolling update has somewhere to go."""

OPTIONAL = ("scheduler", "controllers")
"""Processes whose place somebody else's may take."""

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asked for. `runtime` is nerdctl, fake or auto; without `tracing` it
    stays as it was; `without` names members of OPTIONAL that are not to run."""

    nodes: int = 1
    runtime: str = "auto"
    containerd_address: str = ""
    tracing: TracingConfiguration | None = None
    without: frozenset[str] = frozenset()


def why_no_containers() -> str:
    """Why containers cannot be started here; empty when they can."""
    if os.geteuid() != 0:
        return "not root"
    for program in ("containerd", "runc", "nerdctl"):
        try:
            binaries.find(program)
        except binaries.BinaryNotFoundError as error:
            return str(error)
    if not (Path(containerd.cni_path()) / "bridge").exists():
        return "no CNI plugins in /usr/lib/cni or /opt/cni/bin"
    return ""


def up(layout: Layout, options: Options, progress: Progress) -> ClusterState:
    """Starts what does not run, ends what is not wanted and waits until every node is Ready.

    Raises: ClusterError, which names the component, the reason and its log.
    """
    state = plan(layout, options, progress)
    layout.make_directories()
    layout.save(state)
    _write_tracing(layout, state)
    _write_identities(layout, state)
    runner = _Runner(layout, Processes(layout), progress)
    if state.runtime == "nerdctl" and not options.containerd_address:
        containerd.write_config(layout)
        runner.start([components.containerd(layout, binaries.find("containerd"))])
    runner.stop(options.without)
    wanted = [
        spec
        for spec in components.control_plane(layout, state, binaries.find("etcd"))
        if spec.name not in options.without
    ]
    runner.start(wanted)
    if state.runtime == "nerdctl":
        runner.wait("containerd", lambda: _accepts(Path(state.containerd_address)))
        _load_images(layout, state, progress)
    for member in state.nodes:
        runner.start(components.node(layout, state, member))
    for spec in wanted:
        if spec.name != "etcd":  # the apiserver is not ready before it
            runner.wait(spec.name, partial(_ready, layout, spec.name))
    for member in state.nodes:
        shim = f"{member.name}-shim"
        runner.wait(shim, partial(_ready, layout, shim))
    runner.wait_nodes(state)
    runner.check_alive()
    return state


def plan(layout: Layout, options: Options, progress: Progress) -> ClusterState:
    """What the cluster is to be: last time's state with the nodes now asked for, or a new one."""
    before = layout.load()
    if before is not None:
        if options.runtime not in ("auto", before.runtime):
            raise ClusterError(
                f"cluster {layout.name} runs on {before.runtime}; "
                f"`podpath down --name {layout.name} --delete` before another runtime"
            )
        return _traced(replace(before, nodes=_nodes(before.nodes, options.nodes)), options, layout)
    runtime = _choose_runtime(options.runtime, progress)
    others = [s for n in clusters(layout.root) if (s := Layout(layout.root, n).load())]
    taken = [p for s in others for p in (*s.ports.values(), *(n.kubelet_port for n in s.nodes))]
    names = components.port_names()
    address = options.containerd_address or str(containerd.address(layout))
    state = ClusterState(
        name=layout.name,
        runtime=runtime,
        ports=dict(zip(names, network.free_ports(len(names), taken), strict=True)),
        pod_cidr=network.free_pod_cidr(s.pod_cidr for s in others),
        service_cidr="10.96.0.0/16",
        nodes=_nodes((), options.nodes, taken),
        containerd_address=address if runtime == "nerdctl" else "",
    )
    return _traced(state, options, layout)


def _traced(state: ClusterState, options: Options, layout: Layout) -> ClusterState:
    """With the tracing asked for, if any was. Raises: ClusterError when processes run without."""
    if options.tracing is None:
        return state
    wanted = replace(
        state,
        tracing_endpoint=options.tracing.endpoint,
        tracing_sampling_rate_per_million=options.tracing.sampling_rate_per_million,
    )
    processes = Processes(layout)
    if wanted != state and any(processes.pid(name) for name in processes.names()):
        raise ClusterError(
            f"cluster {layout.name} runs with other tracing settings; "
            f"`podpath down --name {layout.name}` before it is traced otherwise"
        )
    return wanted


def _write_tracing(layout: Layout, state: ClusterState) -> None:
    """Source: k8s.io/apiserver pkg/apis/apiserver/v1 (TracingConfiguration)."""
    tree = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "TracingConfiguration",
        "endpoint": state.tracing_endpoint,
        "samplingRatePerMillion": state.tracing_sampling_rate_per_million,
    }
    layout.tracing.write_text(yaml.safe_dump(tree, sort_keys=False))


def _choose_runtime(asked: str, progress: Progress) -> str:
    if asked == "fake":
        return asked
    reason = why_no_containers()
    if not reason:
        return "nerdctl"
    if asked == "nerdctl":
        raise ClusterError(f"--runtime nerdctl: {reason}; --runtime fake needs none of it")
    progress(f"no containers ({reason}): using the fake runtime")
    return "fake"


def _nodes(
    before: tuple[Node, ...], count: int, taken: list[int] | None = None
) -> tuple[Node, ...]:
    """At least `count` nodes: those of before keep their names and ports."""
    missing = range(len(before) + 1, count + 1)
    ports = network.free_ports(len(missing), [*(taken or ()), *(n.kubelet_port for n in before)])
    new = (Node(f"node-{i}", i, port) for i, port in zip(missing, ports, strict=True))
    return (*before, *new)


def _write_identities(layout: Layout, state: ClusterState) -> None:
    """Certificates, and a kubeconfig for each component and for kubectl."""
    names = pki.ClusterNames(nodes=tuple(pki.NodeNames(n.name) for n in state.nodes))
    files = pki.ensure_cluster_pki(layout.pki, names, SystemClock())
    ca = files.ca.certificate.read_bytes()

    def write(path: Path, pair: pki.PairFiles, context: str) -> None:
        config = kubeconfig.KubeConfig(
            server=f"https://{components.HOST}:{state.ports['apiserver']}",
            grpc_address=f"{components.HOST}:{state.ports['apiserver-grpc']}",
            ca=ca,
            cert=pair.certificate.read_bytes(),
            key=pair.key.read_bytes(),
        )
        kubeconfig.write(path, config, context)

    write(layout.kubeconfig, files.admin, f"podpath-{state.name}")
    for component in ("scheduler", "controllers"):
        write(layout.component_kubeconfig(component), files.user(component), "podpath")
    for member in state.nodes:
        pair = files.node_client(member.name)
        write(layout.component_kubeconfig(member.name), pair, "podpath")


def _load_images(layout: Layout, state: ClusterState, progress: Progress) -> None:
    """Puts the images built here into the namespace of each node that lacks them."""
    for member in state.nodes:
        namespace = components.containerd_namespace(state, member)
        run = partial(
            containerd.nerdctl,
            state.containerd_address,
            namespace,
            components.nerdctl_data_root(layout, member),
        )
        listed = run("images", "--format", "{{.Repository}}:{{.Tag}}").stdout.split()
        for file_name, spec in _images().items():
            names = [name.removeprefix("docker.io/") for name in spec.names]
            if set(names) <= set(listed):
                continue
            archive = layout.directory / "images" / file_name
            if not archive.exists():
                archive.parent.mkdir(exist_ok=True)
                archive.write_bytes(image_tar.build(spec))
            progress(f"loading {', '.join(names)} into {member.name}")
            run("load", "-q", "-i", str(archive))


def _images() -> dict[str, image_tar.ImageSpec]:
    names = tuple(f"docker.io/{name}" for name in EXAMPLE_IMAGES)
    return {
        "busybox.tar": replace(image_tar.BUSYBOX_IMAGE, names=names),
        "pause.tar": image_tar.PAUSE_IMAGE,
    }


class _Runner:
    def __init__(self, layout: Layout, processes: Processes, progress: Progress) -> None:
        self._layout = layout
        self._processes = processes
        self._progress = progress

    def start(self, specs: list[ProcessSpec]) -> None:
        for spec in specs:
            if self._processes.start(spec):
                self._progress(f"starting {spec.name}")

    def stop(self, names: Iterable[str]) -> None:
        for name in sorted(names):
            if self._processes.stop(name):
                self._progress(f"stopped {name}")

    def wait(self, name: str, ready: Callable[[], bool]) -> None:
        if self._processes.pid(name) is None and ready():
            return  # somebody else's, such as --containerd-address
        self._processes.wait_ready(name, ready, READY_TIMEOUT_S)
        self._progress(f"{name} is ready")

    def check_alive(self) -> None:
        """Nothing that became ready may have died while the rest was started."""
        for name in self._processes.names():
            if self._processes.pid(name) is None:
                raise self._processes.failed(name, "ended after it was ready")

    def wait_nodes(self, state: ClusterState) -> None:
        """Until each node's Ready condition is True; a dead kubelet is told at once."""
        loop.run(self._wait_nodes({member.name for member in state.nodes}))

    async def _wait_nodes(self, waiting: set[str]) -> None:
        clock = SystemClock()
        deadline = clock.monotonic() + READY_TIMEOUT_S
        async with GrpcClient(kubeconfig.load(self._layout.kubeconfig)) as client:
            while waiting:
                for name in sorted(waiting):
                    kubelet = f"{name}-kubelet"
                    if self._processes.pid(kubelet) is None:
                        raise self._processes.failed(kubelet, "ended before its node was Ready")
                    if clock.monotonic() > deadline:
                        raise self._processes.failed(
                            kubelet, f"the node is not Ready after {READY_TIMEOUT_S:.0f} s"
                        )
                for node in (await client.list(scheme.NODES)).items:
                    name = node.metadata.name
                    # The stored condition may be from before a restart: ask the kubelet too.
                    if (
                        name in waiting
                        and _is_ready(node)
                        and (self._processes.pid("controllers") is None or _is_untainted(node))
                        and _ready(self._layout, f"{name}-kubelet")
                    ):
                        waiting.discard(name)
                        self._progress(f"node {name} is Ready")
                await clock.sleep(0.05)


def _is_ready(node: core_v1_pb2.Node) -> bool:
    return any(c.type == "Ready" and c.status == "True" for c in node.status.conditions)


def _is_untainted(node: core_v1_pb2.Node) -> bool:
    """The controllers have taken note that it is Ready: the taint of a new node is gone."""
    return all(t.key != "node.kubernetes.io/not-ready" for t in node.spec.taints)


def _accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def _ready(layout: Layout, component: str) -> bool:
    """What the component's diagnostics socket says to /readyz."""
    status, _ = diagnostics.get(layout.socket(f"{component}-diag"), "/readyz")
    return status == http.client.OK
