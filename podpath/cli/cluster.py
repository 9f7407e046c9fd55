"""`podpath cluster`: clusters whose nodes are containers of docker, podman or nerdctl."""

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from podpath.cli import cluster_demo, cluster_images, cluster_lifecycle, cluster_nodes
from podpath.cli.cluster_engine import Engine
from podpath.cli.cluster_lifecycle import Cluster
from podpath.cli.cluster_plan import ClusterPlan
from podpath.cli.layout import ClusterError, default_root
from podpath.cli.progress import Progress
from podpath.client import kubeconfig as kubeconfigs
from podpath.component_base import durations

app = typer.Typer(help="Clusters whose nodes are containers.", no_args_is_help=True)
node_app = typer.Typer(help="One node of a cluster.", no_args_is_help=True)
load_app = typer.Typer(help="Put things into nodes.", no_args_is_help=True)
export_app = typer.Typer(help="Take things out of nodes.", no_args_is_help=True)
app.add_typer(node_app, name="node")
app.add_typer(load_app, name="load")
app.add_typer(export_app, name="export")

out = Console(soft_wrap=True, highlight=False)

Name = Annotated[str, typer.Option(help="The cluster's name.")]
EngineName = Annotated[
    str,
    typer.Option(
        "--engine",
        envvar="PODPATH_ENGINE",
        help="docker, podman, nerdctl, or auto: the first that answers.",
    ),
]
StateDir = Annotated[
    Path | None, typer.Option(help="Where kubeconfigs are kept.", show_default=False)
]
NodeName = Annotated[str, typer.Argument(help="node-1, node-2, ... or control-plane.")]


def open_cluster(name: str, engine: str, state_dir: Path | None) -> Cluster:
    return Cluster(Engine.find(engine), name, (state_dir or default_root()).absolute(), Progress())


@app.command()
def create(  # noqa: PLR0913, PLR0917  a command's options
    name: Name = "default",
    nodes: Annotated[int, typer.Option(min=0, max=100, help="How many nodes.")] = 1,
    runtime: Annotated[str, typer.Option(help="nerdctl or fake.")] = "nerdctl",
    node_cpus: Annotated[str, typer.Option(help="Processors of each node: 2 or 500m.")] = "",
    node_memory: Annotated[str, typer.Option(help="Memory of each node: 2Gi.")] = "",
    node_monitor_grace_period: Annotated[
        str, typer.Option(help="Silence until a node counts as lost: 20s (default: 50s).")
    ] = "",
    cluster_signing_duration: Annotated[
        str, typer.Option(help="How long nodes' certificates are good for: 1h (default: a year).")
    ] = "",
    engine: EngineName = "auto",
    state_dir: StateDir = None,
) -> None:
    """Create a cluster: a control plane and nodes, each a container. Nothing stays if it fails."""
    if runtime not in cluster_nodes.RUNTIMES:
        raise ClusterError(f"--runtime {runtime}: choose {' or '.join(cluster_nodes.RUNTIMES)}")
    settings = {
        "NODE_MONITOR_GRACE_PERIOD": node_monitor_grace_period,
        "CLUSTER_SIGNING_DURATION": cluster_signing_duration,
    }
    environment = {name: _duration(name, text) for name, text in settings.items() if text}
    cluster = open_cluster(name, engine, state_dir)
    plan = ClusterPlan(name, nodes, runtime, node_cpus, node_memory, environment)
    cluster.create(plan)
    out.print(f"cluster {name} is ready: {nodes} nodes on runtime {runtime}")
    out.print(f"export KUBECONFIG={cluster_lifecycle.kubeconfig_path(cluster.root, name)}")


def _duration(name: str, text: str) -> str:
    """Raises: ClusterError, before anything is made."""
    try:
        durations.parse(text)
    except ValueError as error:
        raise ClusterError(f"--{name.lower().replace('_', '-')}: {error}") from None
    return text


@app.command()
def delete(name: Name = "default", engine: EngineName = "auto", state_dir: StateDir = None) -> None:
    """Delete a cluster with everything that was made for it."""
    cluster = open_cluster(name, engine, state_dir)
    if not cluster.delete():
        raise ClusterError(f"there is no cluster {name} on {cluster.engine.name}")
    out.print(f"cluster {name} is deleted")


@app.command("list")
def list_clusters(engine: EngineName = "auto") -> None:
    """List the clusters of the engine."""
    table = Table("CLUSTER", "CONTAINERS", "STATES", box=None, pad_edge=False)
    for name, states in sorted(cluster_lifecycle.clusters(Engine.find(engine)).items()):
        counted = ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states)))
        table.add_row(name, str(len(states)), counted)
    out.print(table)


@app.command()
def kubeconfig(
    name: Name = "default",
    merge: Annotated[bool, typer.Option(help="Add a context to ~/.kube/config instead.")] = False,
    engine: EngineName = "auto",
    state_dir: StateDir = None,
) -> None:
    """Print the administrator's kubeconfig."""
    cluster = open_cluster(name, engine, state_dir)
    config = cluster.kubeconfig()
    if merge:
        target = Path.home() / ".kube" / "config"
        kubeconfigs.merge_context(target, config, f"podpath-{name}")
        out.print(f"context podpath-{name} is in {target}")
        return
    path = cluster_lifecycle.kubeconfig_path(cluster.root, name)
    print(path.read_text(), end="")


@app.command()
def build(engine: EngineName = "auto") -> None:
    """Build the images that are missing or older than the sources."""
    cluster_images.ensure(Engine.find(engine), Progress())
    for role in cluster_images.ROLES:
        out.print(cluster_images.image_of(role))


@app.command()
def demo(
    name: Name = "demo",
    keep: Annotated[bool, typer.Option("--keep", help="Leave the cluster running.")] = False,
    engine: EngineName = "auto",
    state_dir: StateDir = None,
) -> None:
    """Three nodes, six replicas, every Pod reaching every other; logs, exec, port-forward."""
    cluster = open_cluster(name, engine, state_dir)
    cluster_demo.run(cluster, keep=keep)


@load_app.command("image")
def load_image(
    image: Annotated[str, typer.Argument(help="An archive, or an image of the engine.")],
    name: Name = "default",
    node: Annotated[list[str] | None, typer.Option(help="Only this node; may be repeated.")] = None,
    engine: EngineName = "auto",
    state_dir: StateDir = None,
) -> None:
    """Put an image into all nodes, or some."""
    cluster_nodes.load_image(open_cluster(name, engine, state_dir), image, node or [], Progress())


@export_app.command("logs")
def export_logs(
    directory: Annotated[Path, typer.Argument(help="Where to.")],
    name: Name = "default",
    engine: EngineName = "auto",
    state_dir: StateDir = None,
) -> None:
    """Copy the logs of every container."""
    cluster_nodes.export_logs(open_cluster(name, engine, state_dir), directory, Progress())


@node_app.command()
def add(
    name: Name = "default",
    count: Annotated[int, typer.Option(min=1, max=50, help="How many.")] = 1,
    runtime: Annotated[str, typer.Option(help="nerdctl or fake; default: the cluster's.")] = "",
    node_cpus: Annotated[str, typer.Option(help="Processors of each.")] = "",
    node_memory: Annotated[str, typer.Option(help="Memory of each.")] = "",
    engine: EngineName = "auto",
    state_dir: StateDir = None,
) -> None:
    """Add nodes; each joins with a token and requests its certificates."""
    open_cluster(name, engine, state_dir).add_nodes(count, runtime, node_cpus, node_memory)


@node_app.command("list")
def list_nodes(
    name: Name = "default", engine: EngineName = "auto", state_dir: StateDir = None
) -> None:
    """List the nodes' containers."""
    table = Table("NODE", "CONTAINER", "STATE", "ADDRESS", box=None, pad_edge=False)
    for node in open_cluster(name, engine, state_dir).nodes():
        table.add_row(node.name, node.container, node.state, node.address)
    out.print(table)


@node_app.command()
def remove(
    node: NodeName, name: Name = "default", engine: EngineName = "auto", state_dir: StateDir = None
) -> None:
    """Delete the Node and its container."""
    cluster_nodes.remove(open_cluster(name, engine, state_dir), node)


@node_app.command()
def stop(
    node: NodeName,
    name: Name = "default",
    kill: Annotated[bool, typer.Option("--kill", help="At once, without a goodbye.")] = False,
    engine: EngineName = "auto",
    state_dir: StateDir = None,
) -> None:
    """Switch a node off."""
    cluster_nodes.stop(open_cluster(name, engine, state_dir), node, kill=kill)


@node_app.command()
def start(
    node: NodeName, name: Name = "default", engine: EngineName = "auto", state_dir: StateDir = None
) -> None:
    """Switch it on again."""
    cluster_nodes.start(open_cluster(name, engine, state_dir), node)


@node_app.command()
def pause(
    node: NodeName, name: Name = "default", engine: EngineName = "auto", state_dir: StateDir = None
) -> None:
    """Freeze all processes of a node."""
    cluster_nodes.pause(open_cluster(name, engine, state_dir), node)


@node_app.command()
def unpause(
    node: NodeName, name: Name = "default", engine: EngineName = "auto", state_dir: StateDir = None
) -> None:
    """Let them go on."""
    cluster_nodes.unpause(open_cluster(name, engine, state_dir), node)


@node_app.command()
def partition(
    node: NodeName, name: Name = "default", engine: EngineName = "auto", state_dir: StateDir = None
) -> None:
    """Cut a node off from the control plane."""
    cluster_nodes.partition(open_cluster(name, engine, state_dir), node)


@node_app.command()
def heal(
    node: NodeName, name: Name = "default", engine: EngineName = "auto", state_dir: StateDir = None
) -> None:
    """End the partition."""
    cluster_nodes.heal(open_cluster(name, engine, state_dir), node)


@node_app.command("runtime")
def set_runtime(
    node: NodeName,
    runtime: Annotated[str, typer.Argument(help="nerdctl or fake.")],
    name: Name = "default",
    engine: EngineName = "auto",
    state_dir: StateDir = None,
) -> None:
    """Swap the runtime of a running node; its Pods start anew on the other one."""
    cluster_nodes.set_runtime(open_cluster(name, engine, state_dir), node, runtime)


@node_app.command("exec", context_settings={"ignore_unknown_options": True})
def exec_in(
    node: NodeName,
    command: Annotated[list[str], typer.Argument(help="What to run.")],
    name: Name = "default",
    engine: EngineName = "auto",
    state_dir: StateDir = None,
) -> None:
    """Run a command in a node's container: `podpath cluster node exec node-1 -- nerdctl ps`."""
    cluster = open_cluster(name, engine, state_dir)
    container = cluster_nodes.container_of(cluster, node)
    flags = ["-it"] if os.isatty(0) and os.isatty(1) else ["-i"]
    program = cluster.engine.program
    os.execv(program, [program, "exec", *flags, container, *command])


@node_app.command()
def logs(
    node: NodeName,
    component: Annotated[
        str, typer.Argument(help="kubelet, runtime-shim, apiserver, ...; empty: the container's.")
    ] = "",
    lines: Annotated[int, typer.Option(help="How many, from the end.")] = 100,
    name: Name = "default",
    engine: EngineName = "auto",
    state_dir: StateDir = None,
) -> None:
    """Show the end of a log."""
    cluster = open_cluster(name, engine, state_dir)
    print(cluster_nodes.logs(cluster, node, component, lines), end="")
