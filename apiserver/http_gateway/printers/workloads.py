"""Rows of apps, batch, autoscaling and policy.

Source: k8s.io/kubernetes pkg/printers/internalversion/printers.go.
"""

from datetime import datetime
from typing import Any

from apiserver.http_gateway.printers.cells import (
    NONE,
    UNKNOWN,
    Cells,
    age,
    container_cells,
    go_bool,
    human_duration,
    int_or_string,
    joined,
    label_selector,
    labels,
    optional,
    since,
)

_METRICS_SHOWN_MAX = 2


def deployment(obj: Any, now: datetime) -> Cells:
    status = obj.status
    return [
        obj.metadata.name,
        f"{status.readyReplicas}/{obj.spec.replicas}",
        status.updatedReplicas,
        status.availableReplicas,
        age(obj.metadata, now),
        *container_cells(obj.spec.template.spec.containers),
        label_selector(obj.spec.selector, empty=""),
    ]


def replica_set(obj: Any, now: datetime) -> Cells:
    return [
        obj.metadata.name,
        obj.spec.replicas,
        obj.status.replicas,
        obj.status.readyReplicas,
        age(obj.metadata, now),
        *container_cells(obj.spec.template.spec.containers),
        label_selector(obj.spec.selector),
    ]


def stateful_set(obj: Any, now: datetime) -> Cells:
    return [
        obj.metadata.name,
        f"{obj.status.readyReplicas}/{obj.spec.replicas}",
        age(obj.metadata, now),
        *container_cells(obj.spec.template.spec.containers),
    ]


def daemon_set(obj: Any, now: datetime) -> Cells:
    status = obj.status
    return [
        obj.metadata.name,
        status.desiredNumberScheduled,
        status.currentNumberScheduled,
        status.numberReady,
        status.updatedNumberScheduled,
        status.numberAvailable,
        labels(obj.spec.template.spec.nodeSelector),
        age(obj.metadata, now),
        *container_cells(obj.spec.template.spec.containers),
        label_selector(obj.spec.selector),
    ]


def controller_revision(obj: Any, now: datetime) -> Cells:
    owner = next((o for o in obj.metadata.ownerReferences if o.controller), None)
    controller = NONE
    if owner is not None:
        group, slash, _ = owner.apiVersion.rpartition("/")
        kind = f"{owner.kind}.{group}" if slash else owner.kind
        controller = f"{kind.lower()}/{owner.name}"
    return [obj.metadata.name, controller, obj.revision, age(obj.metadata, now)]


_JOB_STATES = (("Complete", "Complete"), ("Failed", "Failed"))
_LATER_JOB_STATES = (("Suspended", "Suspended"), ("FailureTarget", "FailureTarget"))


def job(obj: Any, now: datetime) -> Cells:
    return [
        obj.metadata.name,
        _job_status(obj),
        _completions(obj),
        _job_duration(obj.status, now),
        age(obj.metadata, now),
        *container_cells(obj.spec.template.spec.containers),
        label_selector(obj.spec.selector) if obj.spec.HasField("selector") else NONE,
    ]


def _job_status(obj: Any) -> str:
    true = {c.type for c in obj.status.conditions if c.status == "True"}
    for kind, text in _JOB_STATES:
        if kind in true:
            return text
    if obj.metadata.HasField("deletionTimestamp"):
        return "Terminating"
    for kind, text in _LATER_JOB_STATES:
        if kind in true:
            return text
    return "Running"


def _completions(obj: Any) -> str:
    if obj.spec.HasField("completions"):
        return f"{obj.status.succeeded}/{obj.spec.completions}"
    if obj.spec.parallelism > 1:
        return f"{obj.status.succeeded}/1 of {obj.spec.parallelism}"
    return f"{obj.status.succeeded}/1"


def _job_duration(status: Any, now: datetime) -> str:
    if not status.HasField("startTime"):
        return ""
    if status.HasField("completionTime"):
        return human_duration(status.completionTime.seconds - status.startTime.seconds)
    return human_duration(now.timestamp() - status.startTime.seconds)


def cron_job(obj: Any, now: datetime) -> Cells:
    spec, status = obj.spec, obj.status
    has_run = status.HasField("lastScheduleTime")
    suspended = go_bool(spec.suspend) if spec.HasField("suspend") else "<unset>"
    job_spec = spec.jobTemplate.spec
    return [
        obj.metadata.name,
        spec.schedule,
        optional(spec, "timeZone", NONE),
        suspended,
        len(status.active),
        since(status.lastScheduleTime, now) if has_run else NONE,
        age(obj.metadata, now),
        *container_cells(job_spec.template.spec.containers),
        label_selector(job_spec.selector) if job_spec.HasField("selector") else NONE,
    ]


def pod_disruption_budget(obj: Any, now: datetime) -> Cells:
    spec = obj.spec
    return [
        obj.metadata.name,
        int_or_string(spec.minAvailable) if spec.HasField("minAvailable") else "N/A",
        int_or_string(spec.maxUnavailable) if spec.HasField("maxUnavailable") else "N/A",
        obj.status.disruptionsAllowed,
        age(obj.metadata, now),
    ]


def autoscaler(obj: Any, now: datetime) -> Cells:
    spec = obj.spec
    return [
        obj.metadata.name,
        f"{spec.scaleTargetRef.kind}/{spec.scaleTargetRef.name}",
        _metrics(spec.metrics, obj.status.currentMetrics),
        str(spec.minReplicas) if spec.HasField("minReplicas") else "<unset>",
        spec.maxReplicas,
        obj.status.currentReplicas,
        age(obj.metadata, now),
    ]


def autoscaler_v1(obj: Any, now: datetime) -> Cells:
    """The first version knows one metric, the CPU's."""
    spec, status = obj.spec, obj.status
    metrics = NONE
    if spec.HasField("targetCPUUtilizationPercentage"):
        has_current = status.HasField("currentCPUUtilizationPercentage")
        current = f"{status.currentCPUUtilizationPercentage}%" if has_current else UNKNOWN
        metrics = f"cpu: {current}/{spec.targetCPUUtilizationPercentage}%"
    return [
        obj.metadata.name,
        f"{spec.scaleTargetRef.kind}/{spec.scaleTargetRef.name}",
        metrics,
        str(spec.minReplicas) if spec.HasField("minReplicas") else "<unset>",
        spec.maxReplicas,
        status.currentReplicas,
        age(obj.metadata, now),
    ]


_METRIC_FIELDS = {
    "External": "external",
    "Pods": "pods",
    "Object": "object",
    "Resource": "resource",
    "ContainerResource": "containerResource",
}


def _metrics(specs: Any, statuses: Any) -> str:
    if not specs:
        return NONE
    texts = [
        _metric(spec, statuses[index] if index < len(statuses) else None)
        for index, spec in enumerate(specs)
    ]
    return joined(texts, _METRICS_SHOWN_MAX, len(texts), ", ")


def _metric(spec: Any, status: Any) -> str:
    field = _METRIC_FIELDS.get(spec.type)
    if field is None:
        return "<unknown type>"
    target = getattr(spec, field).target
    current = None
    if status is not None and status.HasField(field):
        current = getattr(status, field).current
    if spec.type in ("Resource", "ContainerResource"):
        return f"{getattr(spec, field).name}: {_utilization(target, current)}"
    if target.HasField("averageValue"):
        average = " (avg)" if spec.type != "Pods" else ""
        return f"{_quantity(current, 'averageValue')}/{target.averageValue.string}{average}"
    return f"{_quantity(current, 'value')}/{target.value.string}"


def _utilization(target: Any, current: Any) -> str:
    if target.HasField("averageValue"):
        return f"{_quantity(current, 'averageValue')}/{target.averageValue.string}"
    known = current is not None and current.HasField("averageUtilization")
    wanted = f"{target.averageUtilization}%" if target.HasField("averageUtilization") else "<auto>"
    return f"{current.averageUtilization}%/{wanted}" if known else f"{UNKNOWN}/{wanted}"


def _quantity(current: Any, field: str) -> str:
    if current is None or not current.HasField(field):
        return UNKNOWN
    return str(getattr(current, field).string)


def scale(obj: Any, now: datetime) -> Cells:
    return [obj.metadata.name, obj.spec.replicas, obj.status.replicas, age(obj.metadata, now)]
