"""The command `podpath`."""

import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from podpath.cli import cluster, cri, loop
from podpath.cli import demo as demonstration
from podpath.cli import down as teardown
from podpath.cli import explain as explaining
from podpath.cli import status as statuses
from podpath.cli import trace as tracing
from podpath.cli import up as bringing_up
from podpath.cli.layout import ClusterError, Layout, default_root
from podpath.cli.processes import Processes
from podpath.cli.progress import Progress, err
from podpath.client import kubeconfig
from podpath.component_base.binaries import BinaryNotFoundError
from podpath.component_base.config import ConfigError
from podpath.component_base.tracing import MILLION, TracingConfiguration

app = typer.Typer(
    help="A Kubernetes cluster whose Pod-creation path you can read, on this machine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
out = Console(soft_wrap=True, highlight=False, width=None if sys.stdout.isatty() else 200)
app.add_typer(cluster.app, name="cluster")
app.add_typer(cri.app, name="cri")

NameOption = Annotated[str, typer.Option(help="The cluster's name.")]
StateDirOption = Annotated[
    Path | None, typer.Option(help="Where clusters keep their state.", show_default=False)
]
OutputOption = Annotated[str, typer.Option("--output", "-o", help="table or json.")]


def layout_of(name: str, state_dir: Path | None) -> Layout:
    return Layout((state_dir or default_root()).absolute(), name)


@app.command()
def up(
    name: NameOption = "default",
    nodes: Annotated[int, typer.Option(min=1, max=100, help="How many nodes.")] = 1,
    runtime: Annotated[str, typer.Option(help="nerdctl, fake or auto.")] = "auto",
    containerd_address: Annotated[
        str, typer.Option(help="A containerd socket to use instead of an own one.")
    ] = "",
    tracing_endpoint: Annotated[
        str | None,
        typer.Option(
            help="OTLP/HTTP receiver of traces, as http://localhost:4318; '' turns them off.",
            show_default=False,
        ),
    ] = None,
    tracing_sampling_rate_per_million: Annotated[
        int, typer.Option(min=0, max=MILLION, help="How many of a million Pods are traced.")
    ] = MILLION,
    without: Annotated[
        list[str] | None,
        typer.Option(
            help="scheduler or controllers: do not run it, another takes its place; repeatable.",
            show_default=False,
        ),
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return when the cluster is ready.")
    ] = False,
    merge_kubeconfig: Annotated[
        bool, typer.Option(help="Add a context to ~/.kube/config and switch to it.")
    ] = False,
    state_dir: StateDirOption = None,
) -> None:
    """Start a cluster, or go on with the one of this name. Ctrl-C ends it; its state stays."""
    if runtime not in ("nerdctl", "fake", "auto"):
        raise ClusterError(f"--runtime {runtime}: choose nerdctl, fake or auto")
    left_out = frozenset(without or ())
    if unknown := sorted(left_out - set(bringing_up.OPTIONAL)):
        raise ClusterError(f"--without {unknown[0]}: choose scheduler or controllers")
    layout, progress = layout_of(name, state_dir), Progress()
    traced = _tracing(tracing_endpoint, tracing_sampling_rate_per_million)
    options = bringing_up.Options(nodes, runtime, containerd_address, traced, left_out)
    state = bringing_up.up(layout, options, progress)
    context = f"podpath-{name}"
    if merge_kubeconfig:
        target = Path.home() / ".kube" / "config"
        kubeconfig.merge_context(target, kubeconfig.load(layout.kubeconfig), context)
        progress(f"context {context} is in {target}")
    out.print(f"cluster {name} is ready on runtime {state.runtime} ({progress.seconds:.1f} s)")
    out.print(f"export KUBECONFIG={layout.kubeconfig}")
    if not detach:
        _watch_over(layout)


def _tracing(endpoint: str | None, rate_per_million: int) -> TracingConfiguration | None:
    if endpoint is None:
        return None
    try:
        return TracingConfiguration(endpoint, rate_per_million)
    except ConfigError as error:
        raise ClusterError(f"--tracing-endpoint: {error}") from error


def _watch_over(layout: Layout) -> None:
    """Stays until a signal, or until a process of the cluster dies."""
    processes = Processes(layout)
    err.print("Ctrl-C ends the cluster; `podpath up` brings it back with all its objects")
    try:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        died = processes.wait_for_an_end()
        raise processes.failed(died, "ended; the rest goes on. `podpath up` restarts it")
    except KeyboardInterrupt:
        teardown.down(layout, delete=False, progress=Progress())


@app.command()
def down(
    name: NameOption = "default",
    delete: Annotated[
        bool, typer.Option("--delete", help="Also remove containers, objects and certificates.")
    ] = False,
    state_dir: StateDirOption = None,
) -> None:
    """Stop a cluster. Without --delete the next `up` goes on where it was."""
    layout = layout_of(name, state_dir)
    if not teardown.down(layout, delete=delete, progress=Progress()):
        raise ClusterError(f"there is no cluster {name} in {layout.root}")
    context = f"podpath-{name}"
    target = Path.home() / ".kube" / "config"
    if delete and target.exists():
        kubeconfig.remove_context(target, context)


@app.command()
def status(
    name: NameOption = "default", output: OutputOption = "table", state_dir: StateDirOption = None
) -> None:
    """Show a cluster's processes. Exits with 1 unless all of them are well."""
    layout = layout_of(name, state_dir)
    state, found = statuses.status(layout)
    if state is None:
        raise ClusterError(f"there is no cluster {name} in {layout.root}; `podpath up` makes one")
    if output == "json":
        _print_json(statuses.as_tree(state, found, layout))
    else:
        table = Table("PROCESS", "PID", "STATE", "LOG", box=None, pad_edge=False)
        for process in found:
            table.add_row(process.name, str(process.pid or "-"), process.state, process.log)
        out.print(table)
    if any(process.state not in ("ready", "running") for process in found):
        raise typer.Exit(1)


@app.command()
def trace(
    pod: Annotated[str, typer.Argument(help="NAME, NAMESPACE/NAME or a uid.")],
    name: NameOption = "default",
    output: OutputOption = "table",
    state_dir: StateDirOption = None,
) -> None:
    """Show the 18 steps of a Pod's creation: who took them, when, and what was decided."""
    layout = layout_of(name, state_dir)
    if layout.load() is None:
        raise ClusterError(f"there is no cluster {name} in {layout.root}; `podpath up` makes one")
    uid = loop.run(tracing.find_uid(layout, pod))
    steps = tracing.gather(layout, uid)
    if not steps:
        raise ClusterError(f"no process remembers the creation of {pod} (uid {uid})")
    decision = explaining.find(layout, uid)
    if output == "json":
        explained = {"9b": explaining.as_tree(decision)} if decision is not None else {}
        _print_json([{**asdict(s), "explanation": explained.get(s.number)} for s in steps])
        return
    print_trace(steps)
    if decision is not None:
        out.print()
        explaining.print_decision(out, decision)


def print_trace(steps: list[tracing.TracedStep]) -> None:
    table = Table("STEP", "WHAT", "COMPONENT", "AFTER", "DECISION", box=None, pad_edge=False)
    for step in steps:
        table.add_row(
            step.number, step.meaning, step.component, f"{step.at_ms:.1f} ms", step.decision
        )
    out.print(table)


@app.command()
def explain(
    pod: Annotated[str, typer.Argument(help="NAME, NAMESPACE/NAME or a uid.")] = "",
    name: NameOption = "default",
    what_if: Annotated[
        Path | None,
        typer.Option(help="A manifest: what would be decided now, creating nothing."),
    ] = None,
    output: OutputOption = "table",
    state_dir: StateDirOption = None,
) -> None:
    """Show why a Pod is on its node: what each plugin said about every node."""
    layout = layout_of(name, state_dir)
    if layout.load() is None:
        raise ClusterError(f"there is no cluster {name} in {layout.root}; `podpath up` makes one")
    if bool(pod) == (what_if is not None):
        raise ClusterError("name a Pod or give --what-if FILE, one of both")
    if what_if is not None:
        decision = loop.run(explaining.what_if(layout, what_if))
    else:
        decision = explaining.fetch(layout, pod)
    if output == "json":
        _print_json(explaining.as_tree(decision))
    else:
        explaining.print_decision(out, decision)


@app.command()
def demo(
    runtime: Annotated[str, typer.Option(help="nerdctl, fake or auto.")] = "auto",
    name: NameOption = "demo",
    keep: Annotated[bool, typer.Option("--keep", help="Leave the cluster running.")] = False,
    state_dir: StateDirOption = None,
) -> None:
    """Bring up a cluster, create a Pod with kubectl and show every step of its way."""
    layout = layout_of(name, state_dir)
    demonstration.run(layout, runtime, keep=keep, progress=Progress(), show_trace=print_trace)


def _print_json(tree: object) -> None:
    sys.stdout.buffer.write(orjson.dumps(tree, option=orjson.OPT_INDENT_2) + b"\n")


def main() -> None:
    """Entry point: an expected failure is told without a traceback, with exit status 1."""
    try:
        app()
    except (ClusterError, kubeconfig.KubeConfigError, BinaryNotFoundError) as error:
        err.print(f"[bold red]error:[/bold red] {escape(str(error))}")
        sys.exit(1)


if __name__ == "__main__":
    main()
