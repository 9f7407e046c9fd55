"""Webhooks that filter, score, preempt or bind too (`extenders` in the configuration file).

The calls are part of the scheduling cycle, which is synchronous: one slow extender slows all
decisions, as upstream's documentation says of its own. On the wire fields have the names of
upstream's Go structs (`NodeNames`), and are read whatever their case, as Go's decoder does.

Source: pkg/scheduler/extender.go, k8s.io/kube-scheduler extender/v1/types.go.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from podpath.api import json_codec, scheme
from protos.k8s.core_v1_pb2 import Pod
from scheduler.extender_config import ExtenderConfig
from scheduler.extender_http import Answer, Caller
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


class HttpExtender:
    """One webhook; its connection is kept open."""

    def __init__(self, config: ExtenderConfig) -> None:
        self.config = config
        self._caller = Caller(config)

    def close(self) -> None:
        self._caller.close()

    @property
    def name(self) -> str:
        return self.config.url_prefix

    @property
    def is_ignorable(self) -> bool:
        return self.config.ignorable

    @property
    def filters(self) -> bool:
        return bool(self.config.filter_verb)

    @property
    def scores(self) -> bool:
        return bool(self.config.prioritize_verb)

    @property
    def preempts(self) -> bool:
        return bool(self.config.preempt_verb)

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
        answer = Answer(self._caller.call(self.config.filter_verb, self._arguments(pod, nodes)))
        if answer["Error"]:
            raise PluginError(str(answer["Error"]))
        if self.config.node_cache_capable and answer["NodeNames"] is not None:
            passed = self._known(nodes, answer["NodeNames"])
        else:
            items = Answer(answer["Nodes"])["items"] or ()
            passed = self._known(nodes, [item["metadata"]["name"] for item in items])
        failures = {
            name: unschedulable(NAME, str(reason))
            for name, reason in (answer["FailedNodes"] or {}).items()
        }
        for name, reason in (answer["FailedAndUnresolvableNodes"] or {}).items():
            failures[name] = unresolvable(NAME, str(reason))
        return passed, failures

    def _known(self, nodes: Sequence[NodeInfo], names: Sequence[str]) -> list[NodeInfo]:
        by_name = {node.name: node for node in nodes}
        unknown = next((name for name in names if name not in by_name), None)
        if unknown is not None:
            raise PluginError(
                f'extender "{self.config.url_prefix}" claims a filtered node "{unknown}" which is '
                "not found in the input node list"
            )
        return [by_name[name] for name in names]

    def prioritize(self, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Mapping[str, int]:
        """What to add to each node's total; nothing when the extender fails."""
        if not self.config.prioritize_verb:
            return {}
        try:
            answer = self._caller.call(self.config.prioritize_verb, self._arguments(pod, nodes))
        except PluginError as error:
            log.warning("extender gave no scores", extra={"error": str(error)})
            return {}
        factor = self.config.weight * (MAX_NODE_SCORE // MAX_EXTENDER_PRIORITY)
        scores = [Answer(item) for item in answer or ()]
        return {score["Host"]: (score["Score"] or 0) * factor for score in scores}

    def preempt(
        self, pod: PodInfo, victims: Mapping[str, tuple[Sequence[PodInfo], int]]
    ) -> dict[str, tuple[list[str], int]]:
        """Which of the nodes may be preempted on, and which Pods (uids) then have to go.

        `victims`: by node, those who would, and how many disruption budgets that breaks. The
        extender may strike nodes and change victims. Raises: PluginError.
        """
        whole = not self.config.node_cache_capable
        by_node = {
            name: {
                "Pods": [_pod(v.pod) if whole else {"UID": v.uid} for v in pods],
                "NumPDBViolations": violations,
            }
            for name, (pods, violations) in victims.items()
        }
        arguments = {
            "Pod": _pod(pod.pod),
            "NodeNameToVictims": by_node if whole else None,
            "NodeNameToMetaVictims": None if whole else by_node,
        }
        answer = Answer(self._caller.call(self.config.preempt_verb, arguments))
        found: dict[str, tuple[list[str], int]] = {}
        for name, told in (answer["NodeNameToMetaVictims"] or {}).items():
            left = Answer(told)
            uids = [Answer(victim)["UID"] or "" for victim in left["Pods"] or ()]
            found[name] = (uids, left["NumPDBViolations"] or 0)
        return found

    def bind(self, pod: PodInfo, node_name: str) -> None:
        """Raises: PluginError."""
        namespace, name = pod.key
        arguments = {"PodName": name, "PodNamespace": namespace, "PodUID": pod.uid}
        caller = Caller(self.config)  # bindings run beside one another, and beside decisions
        try:
            answer = Answer(caller.call(self.config.bind_verb, {**arguments, "Node": node_name}))
        finally:
            caller.close()
        if answer["Error"]:
            raise PluginError(str(answer["Error"]))

    def _arguments(self, pod: PodInfo, nodes: Sequence[NodeInfo]) -> dict[str, Any]:
        names: list[str] | None = None
        whole: dict[str, Any] | None = None
        if self.config.node_cache_capable:
            names = [node.name for node in nodes]
        else:
            items = [json_codec.to_json(node.node) for node in nodes if node.node is not None]
            whole = {"metadata": {}, "items": items}
        return {"Pod": _pod(pod.pod), "Nodes": whole, "NodeNames": names}


def _pod(pod: Pod) -> dict[str, Any]:
    return json_codec.to_json_object(scheme.PODS, pod)


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
            return SKIP if self._extender.config.ignorable else failed(NAME, str(error))
        return SUCCESS
