"""What can be done to the containers of a cluster: faults, images, logs, another runtime."""

from collections.abc import Callable
from pathlib import Path

from podpath.api import scheme
from podpath.api.errors import ApiError
from podpath.cli import container_services, loop
from podpath.cli.cluster_lifecycle import Cluster
from podpath.cli.layout import ClusterError
from podpath.client.grpc import GrpcClient

RUNTIMES = ("nerdctl", "fake")
CONTROL_PLANE = "control-plane"
_CONTAINERD = container_services.CONTAINERD
_PARTITION = ("-m", "comment", "--comment", "podpath partition", "-j", "DROP")

Progress = Callable[[str], None]


def container_of(cluster: Cluster, node: str) -> str:
    """A node's container, or the control plane's by the name `control-plane`."""
    return cluster.control_plane if node == CONTROL_PLANE else cluster.node(node).container


def stop(cluster: Cluster, node: str, *, kill: bool = False) -> None:
    """Like switching a machine off; `kill`: like pulling its plug."""
    cluster.engine.run("kill" if kill else "stop", container_of(cluster, node))


def start(cluster: Cluster, node: str) -> None:
    """Switches it on again; it is Ready some seconds later."""
    cluster.engine.run("start", container_of(cluster, node))


def pause(cluster: Cluster, node: str) -> None:
    """All its processes stand still."""
    cluster.engine.run("pause", container_of(cluster, node))


def unpause(cluster: Cluster, node: str) -> None:
    cluster.engine.run("unpause", container_of(cluster, node))


def partition(cluster: Cluster, node: str) -> None:
    """Cuts the node off from the control plane, and from nothing else. Idempotent."""
    heal(cluster, node)
    for chain, direction in (("INPUT", "-s"), ("OUTPUT", "-d")):
        _iptables(cluster, node, "-I", chain, direction)


def heal(cluster: Cluster, node: str) -> None:
    """Ends a partition. Idempotent."""
    for chain, direction in (("INPUT", "-s"), ("OUTPUT", "-d")):
        while _iptables(cluster, node, "-D", chain, direction, check=False):
            pass


def _iptables(
    cluster: Cluster, node: str, action: str, chain: str, direction: str, *, check: bool = True
) -> bool:
    address = cluster.address()
    argv = ["exec", cluster.node(node).container, "iptables", "-w", "5", action, chain]
    argv += [direction, address, *_PARTITION]
    if check:
        cluster.engine.run(*argv)
        return True
    return cluster.engine.succeeds(*argv)


def remove(cluster: Cluster, node: str) -> None:
    """Deletes the Node object, then its container and volume. Raises: ClusterError."""
    cluster.node(node)

    async def delete() -> None:
        async with GrpcClient(cluster.kubeconfig()) as client:
            try:
                await client.delete(scheme.NODES, "", node)
            except ApiError as error:
                if error.reason != "NotFound":
                    raise ClusterError(f"node {node}: {error}") from error

    loop.run(delete())
    cluster.remove_container(node)


def set_runtime(cluster: Cluster, node: str, runtime: str) -> None:
    """The node goes on with another runtime; its Pods are started anew there.

    Returns when nothing of the one before runs any more. Raises: ClusterError.
    """
    if runtime not in RUNTIMES:
        raise ClusterError(f"runtime {runtime!r}: expected {' or '.join(RUNTIMES)}")
    container = cluster.node(node).container
    wanted, present = container_services.RUNTIME, container_services.RUNTIME_NOW
    script = (
        f"echo {runtime} > {wanted}; kill -HUP 1; "
        f'until [ "$(cat {present})" = {runtime} ]; do sleep 0.1; done'
    )
    cluster.engine.run("exec", container, "sh", "-c", script)


def load_image(cluster: Cluster, source: str, nodes: list[str], progress: Progress) -> None:
    """Puts an image into nodes: an archive on this machine, or an image of the engine's own.

    A node on the fake runtime needs none. Raises: ClusterError.
    """
    path = Path(source)
    if path.is_file():
        archive = path.read_bytes()
    else:
        if cluster.engine.inspect("image", source) is None:
            raise ClusterError(f"{source}: neither a file nor an image of {cluster.engine.name}")
        archive = cluster.engine.save(source)
    for node in nodes or [node.name for node in cluster.nodes()]:
        container = cluster.node(node).container
        if not cluster.engine.succeeds("exec", container, "test", "-S", _CONTAINERD):
            progress(f"{node} runs no containerd and needs no image")
            continue
        load = ("exec", "-i", container, "nerdctl", "load", "-q")
        cluster.engine.run(*load, stdin=archive, timeout_s=300.0)
        progress(f"{source} is on {node}")


def logs(cluster: Cluster, node: str, component: str, lines: int) -> str:
    """The end of a component's log, or of the container's own output."""
    container = container_of(cluster, node)
    if not component:
        return cluster.engine.run("logs", f"--tail={lines}", container)
    file = f"{container_services.LOGS}/{component}.log"
    return cluster.engine.run("exec", container, "tail", "-n", str(lines), file)


def export_logs(cluster: Cluster, directory: Path, progress: Progress) -> None:
    """Copies every container's logs to `directory/CONTAINER`, those of Pods to `pods` in it.

    Works for stopped containers too.
    """
    nodes = [node.container for node in cluster.nodes()]
    for container in (cluster.control_plane, *nodes):
        target = directory / container
        target.mkdir(parents=True, exist_ok=True)
        cluster.engine.run("cp", f"{container}:{container_services.LOGS}/.", str(target))
        if container in nodes:
            pods = f"{container}:{container_services.POD_LOGS}/."
            cluster.engine.run("cp", pods, str(target / "pods"))
        (target / "container.log").write_text(cluster.engine.run("logs", container))
        progress(f"logs of {container} are in {target}")
