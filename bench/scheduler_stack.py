"""Pods bound per second over a running control plane: `python -m bench.scheduler_stack`.

The scheduler is held (SIGSTOP) while a backlog of Pods is created, then let go; a watch counts the
bindings. So the load generator takes no processor time from the measurement but for the watch. Both
control planes are measured in the same way, over their HTTPS doors; the real scheduler runs with
`qps: 5000, burst: 10000` as `system:masters`.
"""

import argparse
import asyncio
import json
import os
import signal
import ssl
import sys
import tempfile
import time
from pathlib import Path

import aiohttp

from bench import kubernetes, stack
from podpath.component_base import binaries

AT_ONCE = 32
BACKLOG_S = 180.0


class Door:
    def __init__(self, session: aiohttp.ClientSession, server: str) -> None:
        self._session = session
        self._server = server

    async def send(self, method: str, path: str, tree=None, kind="application/json"):
        headers = {"Content-Type": kind}
        async with self._session.request(
            method, self._server + path, json=tree, headers=headers
        ) as response:
            body = await response.json()
            if response.status >= 400 and response.status != 409:
                raise RuntimeError(f"{method} {path}: {body}")
            return body

    async def many(self, calls) -> None:
        """`calls` are (method, path, tree); a bounded number is under way at once."""
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(call):
            async with gate:
                await self.send(*call)

        await asyncio.gather(*(one(call) for call in calls))

    async def bindings(self, version: str, count: int, times: list[float]) -> None:
        path = f"/api/v1/pods?watch=1&resourceVersion={version}&fieldSelector=spec.nodeName%21%3D"
        timeout = aiohttp.ClientTimeout(total=None)
        async with self._session.get(self._server + path, timeout=timeout) as response:
            async for line in response.content:
                if line.startswith(b'{"type":"ADDED"'):
                    times.append(time.perf_counter())
                    if len(times) >= count:
                        return


def node(i: int) -> dict:
    amounts = {"cpu": "32", "memory": "128Gi", "pods": "110"}
    labels = {"kubernetes.io/hostname": f"node-{i}", "topology.kubernetes.io/zone": f"z{i % 3}"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": f"node-{i}", "labels": labels},
        "status": {"allocatable": amounts, "capacity": amounts},
    }


def pod(i: int) -> dict:
    requests = {"cpu": "100m", "memory": "500Mi"}
    container = {"name": "c", "image": "img", "resources": {"requests": requests}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"pod-{i}", "namespace": "default"},
        "spec": {"containers": [container], "automountServiceAccountToken": False},
    }


async def measure(running: stack.Stack, ca: Path, nodes: int, pods: int) -> dict:
    context = ssl.create_default_context(cafile=str(ca))
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=context, limit=AT_ONCE + 4),
        headers={"Authorization": f"Bearer {running.token}"},
        read_bufsize=1 << 22,
    ) as session:
        door = Door(session, running.server)
        account = {"metadata": {"name": "default"}, "kind": "ServiceAccount", "apiVersion": "v1"}
        await door.send("POST", "/api/v1/namespaces/default/serviceaccounts", account)
        await door.many([("POST", "/api/v1/nodes", node(i)) for i in range(nodes)])
        merge = "application/merge-patch+json"
        untaint = {"spec": {"taints": None}}
        await door.many(
            [
                ("PATCH", f"/api/v1/nodes/node-{i}/status", {"status": node(i)["status"]}, merge)
                for i in range(nodes)
            ]
        )
        await door.many(
            [("PATCH", f"/api/v1/nodes/node-{i}", untaint, merge) for i in range(nodes)]
        )
        pid = running.pids["scheduler"]
        # One Pod first: the scheduler leads and has seen the nodes.
        warm: list[float] = []
        version = (await door.send("GET", "/api/v1/pods?limit=1"))["metadata"]["resourceVersion"]
        watching = asyncio.ensure_future(door.bindings(version, 1, warm))
        first = pod(0)
        first["metadata"]["name"] = "warm"
        await door.send("POST", "/api/v1/namespaces/default/pods", first)
        await asyncio.wait_for(watching, 60)
        os.kill(pid, signal.SIGSTOP)
        try:
            start = time.perf_counter()
            await door.many(
                [("POST", "/api/v1/namespaces/default/pods", pod(i)) for i in range(pods)]
            )
            created_s = time.perf_counter() - start
            version = (await door.send("GET", "/api/v1/pods?limit=1"))["metadata"][
                "resourceVersion"
            ]
            times: list[float] = []
            watching = asyncio.ensure_future(door.bindings(version, pods, times))
            await asyncio.sleep(0.5)
            cpu = _cpu_seconds(pid)
        finally:
            os.kill(pid, signal.SIGCONT)
        start = time.perf_counter()
        await asyncio.wait_for(watching, BACKLOG_S)
        return {
            "stack": running.name,
            "nodes": nodes,
            "pods": pods,
            "created_per_s": round(pods / created_s, 1),
            "bound_per_s": round(pods / (times[-1] - start), 1),
            "scheduler_cpu_s": round(_cpu_seconds(pid) - cpu, 2),
        }


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.scheduler_stack", description=__doc__)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--pods", type=int, default=5000)
    parser.add_argument("--stack", default="both", choices=("both", "podpath", "kubernetes"))
    kubernetes.add_peers_option(parser)
    options = parser.parse_args()
    etcd = binaries.find("etcd")
    rates = {}
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        if options.stack != "kubernetes":
            with stack.podpath(directory / "p", etcd, 1) as running:
                ca = next((directory / "p").rglob("pki/ca.crt"))
                result = asyncio.run(measure(running, ca, options.nodes, options.pods))
                rates["podpath"] = result["bound_per_s"]
                print(json.dumps(result), flush=True)
        if options.stack == "podpath":
            return 0
        try:
            peers = kubernetes.find_peers(options.peers, *stack.PEERS)
        except kubernetes.PeersMissingError as error:
            print(f"no comparison: {error}")
            return 0
        with stack.kubernetes(directory / "k", etcd, peers) as running:
            ca = next((directory / "k").rglob("pki/ca.crt"))
            result = asyncio.run(measure(running, ca, options.nodes, options.pods))
            rates["kubernetes"] = result["bound_per_s"]
            print(json.dumps(result), flush=True)
    if len(rates) == 2:
        print(f"podpath binds {rates['podpath'] / rates['kubernetes']:.2f} x as fast")
    return 0


if __name__ == "__main__":
    sys.exit(main())
