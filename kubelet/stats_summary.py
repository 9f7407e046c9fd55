"""/stats/summary: what the runtime measures of containers, by Pod. Pure.

Source: k8s.io/kubelet pkg/apis/stats/v1alpha1/types.go. Of the node itself nothing is measured.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import orjson

from kubelet.runtime_status import CONTAINER_NAME_LABEL, POD_UID_LABEL
from protos.cri import runtime_v1_pb2 as cri
from protos.k8s import core_v1_pb2 as core


def summary(node: str, stats: Iterable[cri.ContainerStats], pods: Iterable[core.Pod]) -> bytes:
    """The JSON document."""
    containers: dict[str, list[dict[str, Any]]] = {}
    for one in stats:
        labels = one.attributes.labels
        containers.setdefault(labels.get(POD_UID_LABEL, ""), []).append(
            {
                "name": labels.get(CONTAINER_NAME_LABEL, one.attributes.metadata.name),
                "cpu": {
                    "time": _time(one.cpu.timestamp),
                    "usageNanoCores": one.cpu.usage_nano_cores.value,
                    "usageCoreNanoSeconds": one.cpu.usage_core_nano_seconds.value,
                },
                "memory": {
                    "time": _time(one.memory.timestamp),
                    "usageBytes": one.memory.usage_bytes.value,
                    "workingSetBytes": one.memory.working_set_bytes.value,
                    "rssBytes": one.memory.rss_bytes.value,
                },
            }
        )
    shown = [
        {
            "podRef": {"name": m.name, "namespace": m.namespace, "uid": m.uid},
            "containers": containers.get(m.uid, []),
        }
        for m in (pod.metadata for pod in pods)
    ]
    return orjson.dumps({"node": {"nodeName": node}, "pods": shown})


def _time(nanoseconds: int) -> str:
    moment = datetime.fromtimestamp(nanoseconds / 1e9, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
