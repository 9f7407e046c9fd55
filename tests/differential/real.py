"""A real kube-apiserver and kube-scheduler: sets scenarios up, reads decisions from log and status.

Where the programs are, and with which flags they run, is in `bench/kubernetes.py`.
"""

import asyncio
import re
import secrets
import ssl
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from bench import kubernetes
from podpath.api import scheme
from podpath.api.scheme import Resource
from tests.differential.ours import NAMESPACES
from tests.differential.scenarios import HIGH, PRIORITY_CLASS, Scenario, Tree

SETTLE_S = 0.12
DECIDE_S = 15.0
BINDING_POLL_S = 1.2
"""After this the real scheduler has seen that a Pod it was binding is gone."""

_FINAL = re.compile(
    r'"Calculated node\'s final score for pod" pod="([^"]+)" node="([^"]+)" score=(-?\d+)'
)
_PART = re.compile(
    r'"Plugin scored node for pod" pod="([^"]+)" plugin="([^"]+)" node="([^"]+)" score=(-?\d+)'
)


class RealCluster:
    """Requests as JSON; the scheduler's log is read from where the last scenario ended."""

    def __init__(self, server: str, session: aiohttp.ClientSession, log: Path) -> None:
        self._server = server
        self._session = session
        self._log = log
        self._offset = 0
        self._made: list[tuple[Resource[Any], str, str]] = []

    async def request(self, method: str, path: str, tree: Any = None, **headers: str) -> Any:
        kind = headers.pop("content_type", "application/json")
        async with self._session.request(
            method, self._server + path, json=tree, headers={"Content-Type": kind}
        ) as response:
            body = await response.json()
            if response.status >= 400:
                raise RuntimeError(f"{method} {path}: {body.get('message')}")
            return body

    async def create(self, resource: Resource[Any], tree: Tree) -> Any:
        meta = tree["metadata"]
        namespace = meta.get("namespace", "") if resource.namespaced else ""
        body = {"apiVersion": resource.api_version, "kind": resource.kind, **tree}
        made = await self.request("POST", _path(resource, namespace), body)
        self._made.append((resource, namespace, meta["name"]))
        if "status" in tree:
            made["status"] = {**made.get("status", {}), **tree["status"]}
            name = meta["name"]
            made = await self.request("PUT", f"{_path(resource, namespace)}/{name}/status", made)
        return made

    async def prepare(self) -> None:
        for name, labels in NAMESPACES.items():
            if name != "default":
                await self.request(
                    "POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}}
                )
            account = {"metadata": {"name": "default"}}
            await self.request("POST", f"/api/v1/namespaces/{name}/serviceaccounts", account)
        await self.request(
            "POST",
            "/apis/scheduling.k8s.io/v1/priorityclasses",
            {"metadata": {"name": PRIORITY_CLASS}, "value": HIGH},
        )

    async def decide(self, scenario: Scenario) -> dict[str, Any]:
        """Creates everything, then the Pod; what became of it; and removes everything."""
        try:
            for tree in scenario.nodes:
                await self._create_node(tree)
            for resource, tree in scenario.others:
                await self.create(resource, tree)
            for tree in scenario.placed:
                await self.create(scheme.PODS, _without_token(tree))
            await asyncio.sleep(SETTLE_S)
            self._offset = self._log.stat().st_size
            await self.create(scheme.PODS, _without_token(scenario.pod))
            return await self._outcome(scenario)
        finally:
            await self._clean()

    async def _create_node(self, tree: Tree) -> None:
        """Admission taints new nodes as not ready; no controller is there to lift it."""
        made = await self.create(scheme.NODES, {k: v for k, v in tree.items() if k != "status"})
        made["spec"]["taints"] = tree["spec"]["taints"]
        name = tree["metadata"]["name"]
        made = await self.request("PUT", f"/api/v1/nodes/{name}", made)
        ready = {"type": "Ready", "status": "True"}
        made["status"] = {**made["status"], **tree["status"], "conditions": [ready]}
        await self.request("PUT", f"/api/v1/nodes/{name}/status", made)

    async def _outcome(self, scenario: Scenario) -> dict[str, Any]:
        meta = scenario.pod["metadata"]
        path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"
        async with asyncio.timeout(DECIDE_S):
            while True:
                pod = await self.request("GET", path)
                status = pod.get("status", {})
                told = [c for c in status.get("conditions", ()) if c["type"] == "PodScheduled"]
                if pod["spec"].get("nodeName") or told:
                    break
                if node := self._waits_for_volumes(f"{meta['namespace']}/{meta['name']}"):
                    # Chosen, but its volumes are never made here: no controller runs.
                    await asyncio.sleep(BINDING_POLL_S)
                    pod["spec"]["nodeName"] = node
                    break
                await asyncio.sleep(0.01)
        nominated = status.get("nominatedNodeName", "")
        totals, parts = await self._scores(f"{meta['namespace']}/{meta['name']}")
        victims = await self._victims(nominated, scenario) if nominated else []
        waiting = told and told[0]["status"] == "False" and not pod["spec"].get("nodeName")
        return {
            "node": pod["spec"].get("nodeName", ""),
            "totals": totals,
            "parts": parts,
            "message": told[0].get("message", "") if waiting else "",
            "nominated": nominated,
            "victims": victims,
        }

    async def _scores(self, pod: str) -> tuple[dict[str, int], dict[str, dict[str, int]]]:
        await asyncio.sleep(0.02)  # klog buffers nothing, but the file may lag the API by a little
        text = self._tail()
        totals = {n: int(score) for p, n, score in _FINAL.findall(text) if p == pod}
        parts: dict[str, dict[str, int]] = {}
        for p, plugin, node, score in _PART.findall(text):
            if p == pod:
                parts.setdefault(node, {})[plugin] = int(score)
        return totals, parts

    def _waits_for_volumes(self, pod: str) -> str:
        """The node for which the Pod's volumes are being bound; empty when none are."""
        found = re.search(rf'"AssumePodVolumes"[^\n]* pod="{pod}" node="([^"]+)"', self._tail())
        return found.group(1) if found else ""

    def _tail(self) -> str:
        with self._log.open() as log:
            log.seek(self._offset)
            return log.read()

    async def _victims(self, node: str, scenario: Scenario) -> list[str]:
        """Those placed there that are gone (grace period 0) soon after the nomination."""
        mine = {
            (tree["metadata"]["namespace"], tree["metadata"]["name"])
            for tree in scenario.placed
            if tree["spec"]["nodeName"] == node
        }
        await asyncio.sleep(0.3)
        listed = await self.request("GET", "/api/v1/pods")
        left = {
            (item["metadata"]["namespace"], item["metadata"]["name"])
            for item in listed["items"]
            if "deletionTimestamp" not in item["metadata"]
        }
        return sorted(name for namespace, name in mine - left)

    async def _clean(self) -> None:
        for resource, namespace, name in reversed(self._made):
            path = f"{_path(resource, namespace)}/{name}"
            try:
                if resource in (scheme.PERSISTENTVOLUMECLAIMS, scheme.PERSISTENTVOLUMES):
                    patch = {"metadata": {"finalizers": None}}
                    merge = "application/merge-patch+json"
                    await self.request("PATCH", path, patch, content_type=merge)
                await self.request("DELETE", path, {"gracePeriodSeconds": 0})
            except RuntimeError as error:
                if "not found" not in str(error):
                    raise
        self._made.clear()


def _path(resource: Resource[Any], namespace: str) -> str:
    root = "/api/v1" if resource.api_version == "v1" else f"/apis/{resource.api_version}"
    return (
        f"{root}/namespaces/{namespace}/{resource.name}" if namespace else f"{root}/{resource.name}"
    )


def _without_token(tree: Tree) -> Tree:
    return {**tree, "spec": {**tree["spec"], "automountServiceAccountToken": False}}


@asynccontextmanager
async def real_cluster(etcd: str, peers: Path) -> AsyncIterator[RealCluster]:
    """Starts the programs; ends them by pid whatever happens."""
    with (
        tempfile.TemporaryDirectory() as temporary,
        kubernetes.control_plane(
            Path(temporary),
            etcd,
            peers,
            secrets.token_hex(16),
            apiserver_flags=("--disable-admission-plugins=StorageObjectInUseProtection",),
            scheduler_flags=("-v=10",),
            scheduler_configuration={"percentageOfNodesToScore": 100},
        ) as plane,
    ):
        context = ssl.create_default_context(cafile=str(plane.ca))
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context),
            headers={"Authorization": f"Bearer {plane.token}"},
        ) as session:
            cluster = RealCluster(plane.server, session, Path(temporary) / "scheduler.log")
            await cluster.prepare()
            yield cluster
