"""`podpath demo`: one Pod's whole way, with an unmodified kubectl, then some figures."""

import subprocess
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from podpath.cli import components, containerd, down, loop, trace, up
from podpath.cli.latency import Latencies, measure
from podpath.cli.layout import ClusterError, ClusterState, Layout
from podpath.client import kubeconfig
from podpath.client.grpc import GrpcClient
from podpath.component_base import binaries
from podpath.component_base.clock import SystemClock

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
IMAGE = "podpath/busybox:1.35"
_PODS_MEASURED = 20

Progress = Callable[[str], None]


def run(
    layout: Layout,
    runtime: str,
    *,
    keep: bool,
    progress: Progress,
    show_trace: Callable[[list[trace.TracedStep]], None],
) -> None:
    """Raises: ClusterError when anything does not go as it should."""
    clock = SystemClock()
    begin = clock.monotonic()
    try:
        state = up.up(layout, up.Options(nodes=1, runtime=runtime), progress)
        print(f"\ntime to ready: {clock.monotonic() - begin:.1f} s")
        _Walk(layout, state, show_trace).walk()
        _report(layout, state, clock)
        if state.runtime == "nerdctl":
            _bare_commands(layout, state, clock)
            _fake_beside(layout, clock, progress)
    finally:
        if not keep and layout.directory.exists():
            down.down(layout, delete=True, progress=progress)
    if keep:
        print(f"export KUBECONFIG={layout.kubeconfig}")
    print(f"runtime: {state.runtime}")


class _Walk:
    """What a person would type, each command shown with its answer."""

    def __init__(
        self,
        layout: Layout,
        state: ClusterState,
        show_trace: Callable[[list[trace.TracedStep]], None],
    ) -> None:
        self._layout = layout
        self._state = state
        self._show_trace = show_trace

    def walk(self) -> None:
        pod = str(EXAMPLES / "pod.yaml")
        self._kubectl("apply", "-f", pod, expect="pod/hello created")
        self._kubectl("wait", "--for=condition=Ready", "pod/hello", "--timeout=60s")
        self._kubectl("apply", "-f", pod, expect="pod/hello unchanged")
        self._kubectl("get", "pods", "-o", "wide", expect="Running")
        self._kubectl("describe", "pod", "hello", expect="Successfully assigned default/hello")
        self._follow_logs()
        self._kubectl("exec", "hello", "--", "echo", "from inside", expect="from inside")
        if self._state.runtime == "nerdctl":
            self._show_container()
        print("\n$ podpath trace hello")
        uid = loop.run(trace.find_uid(self._layout, "hello"))
        self._show_trace(trace.gather(self._layout, uid))
        self._kubectl("delete", "pod", "hello", expect='pod "hello" deleted')
        self._deployment()

    def _deployment(self) -> None:
        self._kubectl("apply", "-f", str(EXAMPLES / "deployment.yaml"))
        self._kubectl("rollout", "status", "deployment/web", "--timeout=120s")
        self._kubectl("scale", "deployment/web", "--replicas=5")
        self._kubectl("rollout", "status", "deployment/web", "--timeout=120s")
        self._kubectl("get", "deployments,replicasets,pods", expect="5/5")
        self._kubectl("delete", "deployment", "web", "--cascade=foreground", "--timeout=120s")
        self._kubectl("get", "pods", expect="No resources found")

    def _kubectl(self, *arguments: str, expect: str = "") -> str:
        print(f"\n$ kubectl {' '.join(_short(a) for a in arguments)}", flush=True)
        argv = (binaries.find("kubectl"), f"--kubeconfig={self._layout.kubeconfig}", *arguments)
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=300)
        print(done.stdout, end="")
        print(done.stderr, end="", flush=True)
        if done.returncode != 0 or expect not in done.stdout + done.stderr:
            wanted = f", expected {expect!r}" if expect else ""
            raise ClusterError(
                f"kubectl {' '.join(arguments)}: status {done.returncode}{wanted}; "
                f"logs are in {self._layout.directory / 'logs'}"
            )
        return done.stdout

    def _follow_logs(self) -> None:
        """`logs -f` until the first line, then Ctrl-C."""
        print("\n$ kubectl logs -f hello", flush=True)
        argv = (
            binaries.find("kubectl"),
            f"--kubeconfig={self._layout.kubeconfig}",
            "logs",
            "-f",
            "hello",
        )
        follower = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        try:
            line = follower.stdout.readline() if follower.stdout else ""
        finally:
            follower.terminate()
            follower.communicate(timeout=10)
        print(f"{line}^C", flush=True)
        if self._state.runtime == "nerdctl" and "hello from" not in line:
            raise ClusterError(f"kubectl logs -f hello: first line was {line!r}")

    def _show_container(self) -> None:
        member = self._state.nodes[0]
        namespace = components.containerd_namespace(self._state, member)
        print(f"\n$ nerdctl --namespace {namespace} ps")
        listed = containerd.nerdctl(
            self._state.containerd_address,
            namespace,
            components.nerdctl_data_root(self._layout, member),
            "ps",
        ).stdout
        print(listed, end="")
        if IMAGE not in listed:
            raise ClusterError("nerdctl ps does not show the container")


def _short(argument: str) -> str:
    path = Path(argument)
    return f"examples/{path.name}" if path.parent == EXAMPLES else argument


def _report(layout: Layout, state: ClusterState, clock: SystemClock) -> None:
    async def both() -> tuple[Latencies, Latencies]:
        async with GrpcClient(kubeconfig.load(layout.kubeconfig)) as client:
            one_by_one = await measure(
                client, clock, "one-by-one", _PODS_MEASURED, IMAGE, at_once=False
            )
            at_once = await measure(client, clock, "at-once", _PODS_MEASURED, IMAGE, at_once=True)
            return one_by_one, at_once

    one_by_one, at_once = loop.run(both())
    print(f"\ncreate to Running seen by a watch, {_PODS_MEASURED} Pods, runtime {state.runtime}:")
    print(f"  one after another: {_figures(one_by_one)}")
    print(f"  at once:           {_figures(at_once)}", flush=True)


def _figures(found: Latencies) -> str:
    p50, p99 = found.percentile(0.5) * 1000, found.percentile(0.99) * 1000
    return f"p50 {p50:.0f} ms, p99 {p99:.0f} ms"


def _bare_commands(layout: Layout, state: ClusterState, clock: SystemClock) -> None:
    """What the nerdctl commands behind one Pod cost alone: the floor of the figures above."""
    member = state.nodes[0]
    data_root = components.nerdctl_data_root(layout, member)
    namespace = components.containerd_namespace(state, member)
    run = partial(containerd.nerdctl, state.containerd_address, namespace, data_root)
    bridge = containerd.write_network(
        data_root, components.pod_cidr(state, replace(member, number=250))
    )
    seconds = []
    sleep = ("--entrypoint", "/bin/sleep", IMAGE, "3600")
    try:
        for i in range(5):
            sandbox, container = f"bare-sandbox-{i}", f"bare-{i}"
            start = clock.monotonic()
            run("run", "-d", "--name", sandbox, "--ipc", "shareable", *sleep)
            shared = ("--net", f"container:{sandbox}", "--ipc", f"container:{sandbox}")
            run("run", "-d", "--name", container, *shared, *sleep)
            seconds.append(clock.monotonic() - start)
            run("rm", "-f", container, sandbox)
    finally:
        subprocess.run(("ip", "link", "delete", bridge), check=False, capture_output=True)
    print("the bare nerdctl commands for one Pod (sandbox and container):")
    print(f"  one after another: {_figures(Latencies(tuple(seconds)))}", flush=True)


def _fake_beside(layout: Layout, clock: SystemClock, progress: Progress) -> None:
    """The same figures on a second cluster, side by side, with the fake runtime."""
    beside = Layout(layout.root, f"{layout.name}-fake")
    try:
        state = up.up(beside, up.Options(nodes=1, runtime="fake"), progress)
        _report(beside, state, clock)
    finally:
        if beside.directory.exists():
            down.down(beside, delete=True, progress=progress)
