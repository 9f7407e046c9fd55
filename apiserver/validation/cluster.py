"""Small kinds: Lease, Event, PriorityClass, PodDisruptionBudget, autoscalers.

Source: pkg/apis/{coordination,scheduling,policy,autoscaling}/validation/validation.go,
pkg/apis/core/validation/events.go.
"""

from typing import Any

from apiserver.validation.metadata import IMMUTABLE
from apiserver.validation.workloads import int_or_percent
from podpath.api import json_codec, names
from podpath.api.errors import FieldError, forbidden_field, invalid, not_supported, required
from podpath.api.selector_rules import validate_message
from protos.k8s import core_v1_pb2, events_v1_pb2
from protos.k8s.coordination_v1_pb2 import Lease
from protos.k8s.policy_v1_pb2 import PodDisruptionBudget
from protos.k8s.scheduling_v1_pb2 import PriorityClass

_USER_PRIORITY_MAX = 1_000_000_000
_SYSTEM_CLASSES = {
    "system-node-critical": 2_000_001_000,
    "system-cluster-critical": 2_000_000_000,
}
_PREEMPTION_POLICIES = ("PreemptLowerPriority", "Never")
_EVENT_FIELDS = (
    "regarding", "reason", "note", "action", "related", "reportingController",
    "reportingInstance", "type", "eventTime",
)  # fmt: skip
_NAME_MAX = 128
_NOTE_MAX = 1024


def validate_lease(lease: Lease) -> list[FieldError]:
    spec = lease.spec
    found = []
    if spec.HasField("leaseDurationSeconds") and spec.leaseDurationSeconds <= 0:
        here = "spec.leaseDurationSeconds"
        found.append(invalid(here, spec.leaseDurationSeconds, "must be greater than 0"))
    if spec.leaseTransitions < 0:
        detail = "must be greater than or equal to 0"
        found.append(invalid("spec.leaseTransitions", spec.leaseTransitions, detail))
    if spec.preferredHolder and not spec.strategy:
        detail = "may only be specified if `strategy` is defined"
        found.append(forbidden_field("spec.preferredHolder", detail))
    return found


def validate_priority_class(priority_class: PriorityClass) -> list[FieldError]:
    name, value = priority_class.metadata.name, priority_class.value
    found = []
    if name.startswith("system-"):
        detail = _system_class_problem(priority_class)
        if detail:
            found.append(forbidden_field("metadata.name", detail))
    elif value > _USER_PRIORITY_MAX:
        detail = f"maximum allowed value of a user defined priority is {_USER_PRIORITY_MAX}"
        found.append(forbidden_field("value", detail))
    policy = priority_class.preemptionPolicy
    if priority_class.HasField("preemptionPolicy") and policy not in _PREEMPTION_POLICIES:
        found.append(not_supported("preemptionPolicy", policy, _PREEMPTION_POLICIES))
    return found


def _system_class_problem(priority_class: PriorityClass) -> str:
    name = priority_class.metadata.name
    head = "priority class names with 'system-' prefix are reserved for system use only. error: "
    if name not in _SYSTEM_CLASSES:
        return f"{head}{name} is not a known system priority class"
    expected = _SYSTEM_CLASSES[name]
    if priority_class.value != expected:
        return f"{head}value of {name} PriorityClass must be {expected}"
    if priority_class.globalDefault:
        return f"{head}globalDefault of {name} PriorityClass must be false"
    return ""


def validate_priority_class_update(new: PriorityClass, old: PriorityClass) -> list[FieldError]:
    found = []
    if new.value != old.value:
        found.append(forbidden_field("value", "may not be changed in an update."))
    if new.preemptionPolicy != old.preemptionPolicy:
        found.append(invalid("preemptionPolicy", new.preemptionPolicy, IMMUTABLE))
    return found


def validate_disruption_budget(budget: PodDisruptionBudget) -> list[FieldError]:
    spec = budget.spec
    found: list[FieldError] = []
    if spec.HasField("minAvailable") and spec.HasField("maxUnavailable"):
        detail = "minAvailable and maxUnavailable cannot be both set"
        found.append(invalid("spec", json_codec.to_json(spec), detail))
    if spec.HasField("minAvailable"):
        found += int_or_percent(spec.minAvailable, "spec.minAvailable")
    if spec.HasField("maxUnavailable"):
        found += int_or_percent(spec.maxUnavailable, "spec.maxUnavailable")
    if spec.HasField("selector"):
        found += validate_message(spec.selector, "spec.selector")
    policy = spec.unhealthyPodEvictionPolicy
    policies = ("AlwaysAllow", "IfHealthyBudget")
    if spec.HasField("unhealthyPodEvictionPolicy") and policy not in policies:
        found.append(not_supported("spec.unhealthyPodEvictionPolicy", policy, policies))
    return found


def validate_core_event(event: core_v1_pb2.Event) -> list[FieldError]:
    """An Event of v1: only that its namespace is that of the object it is about."""
    if event.eventTime.HasField("seconds"):
        return _event_body(event, "reportingComponent", event.message, "message")
    about = event.involvedObject.namespace
    here = "involvedObject.namespace"
    if not about:
        agrees = event.metadata.namespace in {"", "default"}
    else:
        agrees = about == event.metadata.namespace
    return [] if agrees else [invalid(here, about, "does not match event.namespace")]


def validate_event(event: events_v1_pb2.Event) -> list[FieldError]:
    """An Event of events.k8s.io/v1, which is held to more."""
    found: list[FieldError] = []
    if event.eventTime.HasField("seconds"):
        found += _event_body(event, "reportingController", event.note, "message")
    else:
        found.append(required("eventTime"))
    if event.type not in {"Normal", "Warning"}:
        found.append(invalid("type", "", f"has invalid value: {event.type}"))
    if event.HasField("series") and event.series.count < 2:
        found.append(invalid("series.count", "", "should be at least 2"))
    if event.deprecatedCount:
        found.append(invalid("count", "", "needs to be unset"))
    if event.deprecatedSource.component or event.deprecatedSource.host:
        found.append(invalid("source", "", "needs to be unset"))
    return found


def _event_body(event: Any, controller: str, text: str, text_field: str) -> list[FieldError]:
    about = event.involvedObject if hasattr(event, "involvedObject") else event.regarding
    namespaces = {about.namespace} if about.namespace else {"default", "kube-system"}
    found: list[FieldError] = []
    if event.metadata.namespace not in namespaces:
        detail = "does not match event.namespace"
        found.append(invalid("involvedObject.namespace", about.namespace, detail))
    reporter = getattr(event, controller)
    if not reporter:
        found.append(required(controller))
    found += [invalid(controller, reporter, t) for t in names.label_key_problems(reporter)]
    for name in ("reportingInstance", "action", "reason"):
        value = getattr(event, name)
        if not value:
            found.append(required(name))
        elif len(value) > _NAME_MAX:
            found.append(invalid(name, "", f"can have at most {_NAME_MAX} characters"))
    if len(text.encode()) > _NOTE_MAX:
        found.append(invalid(text_field, "", f"can have at most {_NOTE_MAX} characters"))
    return found


def validate_event_update(new: events_v1_pb2.Event, old: events_v1_pb2.Event) -> list[FieldError]:
    after, before = json_codec.to_json(new), json_codec.to_json(old)
    return [
        invalid(name, after.get(name), IMMUTABLE)
        for name in _EVENT_FIELDS
        if after.get(name) != before.get(name)
    ]


def validate_autoscaler(autoscaler: Any) -> list[FieldError]:
    """A HorizontalPodAutoscaler of either version."""
    spec = autoscaler.spec
    found = []
    if spec.HasField("minReplicas") and spec.minReplicas < 1:
        detail = "must be greater than or equal to 1"
        found.append(invalid("spec.minReplicas", spec.minReplicas, detail))
    if spec.maxReplicas < 1:
        found.append(invalid("spec.maxReplicas", spec.maxReplicas, "must be greater than 0"))
    if spec.HasField("minReplicas") and spec.maxReplicas < spec.minReplicas:
        detail = "must be greater than or equal to `minReplicas`"
        found.append(invalid("spec.maxReplicas", spec.maxReplicas, detail))
    return found + [
        required(f"spec.scaleTargetRef.{name}")
        for name in ("kind", "name")
        if not getattr(spec.scaleTargetRef, name)
    ]
