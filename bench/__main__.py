"""Creates Pods through the HTTPS door with `podload` and reports what the stacks did and cost.

The figures depend on the machine and the hour: only ratios of runs next to each other count.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path

from bench import kubernetes, stack
from podpath.component_base import binaries


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--nodes", type=int, default=100)
    parser.add_argument("--pods", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=2, help="runs of each stack, alternating")
    parser.add_argument("--content-type", default="json", choices=("json", "protobuf"))
    parser.add_argument("--only", choices=("podpath", "kubernetes"))
    kubernetes.add_peers_option(parser)
    parser.add_argument("--out", type=Path, help="append one JSON line a run")
    options = parser.parse_args()
    # A terminated run ends its servers too: SystemExit unwinds the stacks.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    try:
        podload = binaries.find("podload")
    except binaries.BinaryNotFoundError:
        sys.exit("podload is not built: `make bench` builds it, or tools/podload/build.sh alone")
    etcd = binaries.find("etcd")
    peers = _peers(options)
    results = []
    for turn in range(options.rounds):
        for name in _stacks(options.only, peers):
            with (
                tempfile.TemporaryDirectory(prefix="pp-bench-") as directory,
                _running(name, Path(directory), etcd, peers, options.nodes) as running,
            ):
                result = _measure(running, Path(directory), podload, options)
            results.append(result)
            _show(result, turn)
            if options.out:
                with options.out.open("a") as out:
                    out.write(json.dumps(result) + "\n")
    _compare(results)
    return 0


def _peers(options: argparse.Namespace) -> Path | None:
    """Where the real programs are; None, and a word about it, when podpath runs alone."""
    if options.only == "podpath":
        return None
    try:
        return kubernetes.find_peers(options.peers, *stack.PEERS)
    except kubernetes.PeersMissingError as error:
        if options.only == "kubernetes" or options.peers:
            sys.exit(str(error))
        print(f"no comparison with the real control plane: {error};")
        print("measuring podpath alone; docs/performance.md has recorded figures to hold against")
        return None


def _stacks(only: str | None, peers: Path | None) -> list[str]:
    if only:
        return [only]
    return ["podpath", "kubernetes"] if peers is not None else ["podpath"]


def _running(
    name: str, directory: Path, etcd: str, peers: Path | None, nodes: int
) -> AbstractContextManager[stack.Stack]:
    if name == "podpath" or peers is None:
        return stack.podpath(directory, etcd, nodes)
    return stack.kubernetes(directory / "k", etcd, peers)


def _measure(
    running: stack.Stack, directory: Path, podload: str, options: argparse.Namespace
) -> dict:
    base = [podload, "-server", running.server, "-token", running.token]
    base += ["-content-type", options.content_type]
    if running.kwok_nodes:
        _podload(base, "nodes", directory, "-n", str(options.nodes))
    pids = ",".join(f"{name}={pid}" for name, pid in running.pids.items())
    found = _podload(base, "burst", directory, "-n", str(options.pods), "-pids", pids)
    single = _podload(base, "single", directory, "-n", "20")
    return {"stack": running.name, "burst": found, "single": single}


def _podload(base: list[str], command: str, directory: Path, *more: str) -> dict:
    out = directory / f"{command}.jsonl"
    argv = [base[0], command, *base[1:], "-out", str(out), *more]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=600)
    if done.returncode != 0:
        raise SystemExit(f"podload {command}: {done.stderr[-2000:]}")
    return json.loads(out.read_text().splitlines()[-1])


def _show(result: dict, turn: int) -> None:
    burst, single = result["burst"], result["single"]
    print(f"--- {result['stack']}, run {turn + 1}: {burst['n']} Pods, {burst['content_type']}")
    for key, text in (
        ("create_per_s", "created"),
        ("bound_per_s", "bound"),
        ("e2e_per_s", "create to Running"),
    ):
        print(f"  {text:18} {burst[key]:8.1f} /s")
    for key in ("create_lat", "create_to_running"):
        print(f"  {key:18} p50 {burst[key]['p50_ms']:.0f} ms, p99 {burst[key]['p99_ms']:.0f} ms")
    one = single["create_to_running"]
    print(f"  one at a time      p50 {one['p50_ms']:.1f} ms, p99 {one['p99_ms']:.1f} ms")
    for name, used in burst["procs"].items():
        print(f"  {name:18} {used['cpu_s']:6.2f} CPU s, {used['rss_mib']:.0f} MiB", flush=True)


def _compare(results: list[dict]) -> None:
    def rates(name: str) -> list[float]:
        return [r["burst"]["e2e_per_s"] for r in results if r["stack"] == name]

    ours, real = rates("podpath"), rates("kubernetes")
    if ours:
        print(f"podpath: {min(ours):.0f}-{max(ours):.0f} Pods/s create to Running")
    if real:
        print(f"kubernetes: {min(real):.0f}-{max(real):.0f} Pods/s create to Running")
    if ours and real:
        ratio = (sum(ours) / len(ours)) / (sum(real) / len(real))
        print(f"ratio of the means: {ratio:.2f}")


if __name__ == "__main__":
    sys.exit(main())
