"""Webhooks that filter, score or bind too (`extenders` in the configuration file).

The calls are part of the scheduling cycle, which is synchronous: one slow extender slows all
decisions, as upstream's documentation says of its own.

Source: pkg/scheduler/extender.go, k8s.io/kube-scheduler extender/v1/types.go.
"""

import asyncio
import http.client
import logging
import ssl
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from podpath.api import json_codec, scheme
from podpath.component_base import durations
from scheduler.framework.cycle_state import CycleState
from scheduler.framework.interface import MAX_NODE_SCORE
from scheduler.framework.runtime import PluginError
from scheduler.framework.status import (
    SKIP,
    SUCCESS,
    Status,
    failed,
    unresolvable,
    unschedulable,
)
from scheduler.node_info import NodeInfo
from scheduler.pod_info import PodInfo

log = logging.getLogger(__name__)

NAME = "Extender"
MAX_EXTENDER_PRIORITY = 10
DEFAULT_TIMEOUT_S = 5.0
_OK = 200


class ExtenderConfigError(ValueError):
    """An extender that cannot be used as configured."""


@dataclass(frozen=True, slots=True)
class ExtenderConfig:
    url_prefix: str
    filter_verb: str = ""
    prioritize_verb: str = ""
    bind_verb: str = ""
    weight: int = 1
    timeout_s: float = DEFAULT_TIMEOUT_S
    node_cache_capable: bool = False
    ignorable: bool = False
    managed_resources: tuple[str, ...] = ()
    insecure: bool = False

    @classmethod
    def read(cls, tree: Mapping[str, Any]) -> "ExtenderConfig":
        """From the configuration file. Raises: ExtenderConfigError."""
        if tree.get("preemptVerb"):
            raise ExtenderConfigError("preemptVerb is not supported")
        if not tree.get("urlPrefix"):
            raise ExtenderConfigError("urlPrefix: Required value")
        weight = tree.get("weight", 1)
        if tree.get("prioritizeVerb") and weight <= 0:
            raise ExtenderConfigError(
                f"weight: Invalid value: {weight}: must have a positive weight applied to it"
            )
        tls = tree.get("tlsConfig") or {}
        return cls(
            str(tree["urlPrefix"]).rstrip("/"),
            tree.get("filterVerb", ""),
            tree.get("prioritizeVerb", ""),
            tree.get("bindVerb", ""),
            weight,
            _timeout(tree.get("httpTimeout")),
            bool(tree.get("nodeCacheCapable", False)),
            bool(tree.get("ignorable", False)),
            tuple(item.get("name", "") for item in tree.get("managedResources") or ()),
            bool(tls.get("insecure", False)),
        )


def _timeout(text: Any) -> float:
    if text is None:
        return DEFAULT_TIMEOUT_S
    try:
        return durations.seconds(str(text))
    except ValueError as error:
        raise ExtenderConfigError(f"httpTimeout: {error}") from error


class HttpExtender:
    """One webhook; its connection is kept open."""

    def __init__(self, config: ExtenderConfig) -> None:
        self.config = config
        self._connection: http.client.HTTPConnection | None = None

    @property
    def binds(self) -> bool:
        return bool(self.config.bind_verb)

    def is_interested(self, pod: PodInfo) -> bool:
        managed = self.config.managed_resources
        if not managed:
            return True
        containers = (*pod.pod.spec.containers, *pod.pod.spec.initContainers)
        return any(
            name in container.resources.requests or name in container.resources.limits
            for container in containers
            for name in managed
        )

    def filter(
        self, pod: PodInfo, nodes: Sequence[NodeInfo]
    ) -> tuple[Sequence[NodeInfo], Mapping[str, Status]]:
        """(nodes that pass, why others do not). Raises: PluginError."""
        if not self.config.filter_verb:
            return nodes, {}
        answer = self._call(self.config.filter_verb, self._arguments(pod, nodes))
        if answer is None:
            return nodes, {}
        if answer.get("error"):
            if self.config.ignorable:
                return nodes, {}
            raise PluginError(str(answer["error"]))
        if self.config.node_cache_capable and answer.get("nodenames") is not None:
            passed = set(answer["nodenames"])
        else:
            items = (answer.get("nodes") or {}).get("items") or ()
            passed = {item["metadata"]["name"] for item in items}
        failed = {
            name: unschedulable(NAME, str(reason))
            for name, reason in (answer.get("failedNodes") or {}).items()
        }
        for name, reason in (answer.get("failedAndUnresolvableNodes") or {}).items():
            failed[name] = unresolvable(NAME, str(reason))
        return [node for node in nodes if node.name in passed], failed

    def prioritize(self, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Mapping[str, int]:
        """What to add to each node's total; nothing when the extender fails."""
        if not self.config.prioritize_verb:
            return {}
        try:
            answer = self._call(self.config.prioritize_verb, self._arguments(pod, nodes))
        except PluginError as error:
            log.warning("extender gave no scores", extra={"error": str(error)})
            return {}
        factor = self.config.weight * (MAX_NODE_SCORE // MAX_EXTENDER_PRIORITY)
        return {item["host"]: item["score"] * factor for item in answer or ()}

    def bind(self, pod: PodInfo, node_name: str) -> None:
        """Raises: PluginError."""
        namespace, name = pod.key
        answer = self._call(
            self.config.bind_verb,
            {"podName": name, "podNamespace": namespace, "podUID": pod.uid, "node": node_name},
        )
        if answer and answer.get("error"):
            raise PluginError(str(answer["error"]))

    def _arguments(self, pod: PodInfo, nodes: Sequence[NodeInfo]) -> dict[str, Any]:
        tree: dict[str, Any] = {"pod": json_codec.to_json_object(scheme.PODS, pod.pod)}
        if self.config.node_cache_capable:
            tree["nodenames"] = [node.name for node in nodes]
        else:
            items = [json_codec.to_json(node.node) for node in nodes if node.node is not None]
            tree["nodes"] = {"metadata": {}, "items": items}
        return tree

    def _call(self, verb: str, tree: Any) -> Any:
        """The decoded answer; None from an ignorable extender that failed."""
        url = urllib.parse.urlsplit(f"{self.config.url_prefix}/{verb}")
        try:
            connection = self._connect(url)
            connection.request(
                "POST", url.path, orjson.dumps(tree), {"Content-Type": "application/json"}
            )
            response = connection.getresponse()
            body = response.read()
            if response.status != _OK:
                raise PluginError(
                    f"failed {verb} with extender at URL {self.config.url_prefix}, "
                    f"code {response.status}"
                )
            return orjson.loads(body) if body else None
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._connection = None
            if self.config.ignorable:
                log.warning("ignorable extender failed", extra={"error": str(error)})
                return None
            raise PluginError(f"extender {self.config.url_prefix}: {error}") from error

    def _connect(self, url: urllib.parse.SplitResult) -> http.client.HTTPConnection:
        if self._connection is None:
            if url.scheme == "https":
                context = ssl.create_default_context()
                if self.config.insecure:
                    context.check_hostname = False
                    context.verify_mode = ssl.CERT_NONE
                self._connection = http.client.HTTPSConnection(
                    url.netloc, timeout=self.config.timeout_s, context=context
                )
            else:
                self._connection = http.client.HTTPConnection(
                    url.netloc, timeout=self.config.timeout_s
                )
        return self._connection


class ExtenderBinder:
    """The Bind plugin of an extender that binds the Pods it is interested in."""

    name = NAME

    def __init__(self, extender: HttpExtender) -> None:
        self._extender = extender

    async def bind(self, _state: CycleState, pod: PodInfo, node_name: str) -> Status:
        if not self._extender.is_interested(pod):
            return SKIP
        try:
            await asyncio.to_thread(self._extender.bind, pod, node_name)
        except PluginError as error:
            return failed(NAME, str(error))
        return SUCCESS
