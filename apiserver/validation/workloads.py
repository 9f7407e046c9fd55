"""Workloads of apps/v1, and the ReplicationController.

Source: pkg/apis/apps/validation/validation.go, pkg/apis/core/validation/validation.go.
"""

from collections.abc import Mapping
from typing import Any

from apiserver.validation.metadata import (
    IMMUTABLE,
    NOT_NEGATIVE,
    validate_annotations,
    validate_labels,
)
from apiserver.validation.pod import validate_template
from podpath.api import json_codec, names, selector_rules, selectors
from podpath.api.errors import (
    FieldError,
    GoValue,
    forbidden_field,
    go_labels,
    invalid,
    not_supported,
    required,
)
from podpath.api.go_text import quote
from podpath.api.label_lexer import SelectorError
from protos.k8s.apps_v1_pb2 import (
    DaemonSet,
    DaemonSetUpdateStrategy,
    Deployment,
    DeploymentStrategy,
    ReplicaSet,
    StatefulSet,
    StatefulSetSpec,
)
from protos.k8s.core_v1_pb2 import PodTemplateSpec, ReplicationController
from protos.k8s.intstr_pb2 import IntOrString
from protos.k8s.meta_v1_pb2 import LabelSelector

_MISMATCH = "`selector` does not match template `labels`"


def not_negative(owner: Any, path: str, *fields: str) -> list[FieldError]:
    """Numbers that may be absent, but not negative."""
    return [
        invalid(f"{path}.{name}", getattr(owner, name), NOT_NEGATIVE)
        for name in fields
        if getattr(owner, name) < 0
    ]


def int_or_percent(value: IntOrString, path: str) -> list[FieldError]:
    """Not negative, or a percentage up to 100 %."""
    if value.type == 1:
        found = [invalid(path, _go(value), t) for t in names.percent_problems(value.strVal)]
        if not found and int(value.strVal[:-1]) > 100:
            found.append(invalid(path, _go(value), "must not be greater than 100%"))
        return found
    return [] if value.intVal >= 0 else [invalid(path, value.intVal, NOT_NEGATIVE)]


def _percent_or_int(value: IntOrString, path: str) -> list[FieldError]:
    """Like `int_or_percent`, where more than 100 % makes sense."""
    detail = "must not be greater than 100%"
    return [error for error in int_or_percent(value, path) if not error.message.endswith(detail)]


def _amount(value: IntOrString) -> int:
    if value.type != 1:
        return value.intVal
    digits = value.strVal.removesuffix("%")
    return int(digits) if digits.isdigit() else 0


def _go(value: IntOrString) -> GoValue:
    """As Go prints it."""
    return GoValue(
        f"intstr.IntOrString{{Type:{value.type}, IntVal:{value.intVal}, "
        f"StrVal:{quote(value.strVal)}}}"
    )


def _selector(spec: Any, path: str, kind: str) -> list[FieldError]:
    if not spec.HasField("selector"):
        return [required(f"{path}.selector")]
    selector: LabelSelector = spec.selector
    found = list(selector_rules.validate_message(selector, f"{path}.selector"))
    if not selector.matchLabels and not selector.matchExpressions:
        detail = f"empty selector is invalid for {kind}"
        found.append(invalid(f"{path}.selector", selector_rules.go_selector(selector), detail))
    return found


def selects(selector: LabelSelector, labels: Mapping[str, str]) -> bool:
    """Also true for a selector that is wrong, which is told elsewhere."""
    try:
        return selectors.from_message(selector).matches(labels)
    except SelectorError:
        return True


def _unreadable(selector: LabelSelector, detail: str) -> list[FieldError]:
    """A selector with an operator that there is not."""
    try:
        selectors.from_message(selector)
    except SelectorError:
        return [invalid("spec.selector", selector_rules.go_selector(selector), detail)]
    return []


def _template(spec: Any, path: str, kind: str) -> list[FieldError]:
    """A template whose Pods run for ever, and that the selector selects."""
    template: PodTemplateSpec = spec.template
    found = _unreadable(spec.selector, "invalid label selector")
    if found:
        return found
    selected = spec.HasField("selector") and selects(spec.selector, template.metadata.labels)
    if not selected:
        labels = go_labels(template.metadata.labels)
        found.append(invalid(f"{path}.metadata.labels", labels, _MISMATCH))
    found += validate_template(template, path)
    return found + _runs_for_ever(template, path, kind)


def _runs_for_ever(template: PodTemplateSpec, path: str, kind: str) -> list[FieldError]:
    found = []
    if template.spec.restartPolicy != "Always":
        here = f"{path}.spec.restartPolicy"
        found.append(not_supported(here, template.spec.restartPolicy, ("Always",)))
    if template.spec.HasField("activeDeadlineSeconds"):
        detail = f"activeDeadlineSeconds in {kind} is not Supported"
        found.append(forbidden_field(f"{path}.spec.activeDeadlineSeconds", detail))
    return found


def validate_deployment(deployment: Deployment) -> list[FieldError]:
    spec = deployment.spec
    found = not_negative(spec, "spec", "replicas")
    found += _selector(spec, "spec", "deployment")
    found += _template(spec, "spec.template", "ReplicaSet")
    found += _strategy(spec.strategy, "spec.strategy")
    found += not_negative(spec, "spec", "minReadySeconds", "revisionHistoryLimit")
    if spec.HasField("progressDeadlineSeconds"):
        found += not_negative(spec, "spec", "progressDeadlineSeconds")
        if spec.progressDeadlineSeconds <= spec.minReadySeconds:
            here = "spec.progressDeadlineSeconds"
            detail = "must be greater than minReadySeconds"
            found.append(invalid(here, spec.progressDeadlineSeconds, detail))
    return found


def _strategy(strategy: DeploymentStrategy, path: str) -> list[FieldError]:
    if strategy.type == "Recreate":
        if strategy.HasField("rollingUpdate"):
            detail = "may not be specified when strategy `type` is 'Recreate'"
            return [forbidden_field(f"{path}.rollingUpdate", detail)]
        return []
    if strategy.type != "RollingUpdate":
        shown = json_codec.to_json(strategy)
        return [not_supported(path, shown, ("Recreate", "RollingUpdate"))]
    update, here = strategy.rollingUpdate, f"{path}.rollingUpdate"
    found = _percent_or_int(update.maxUnavailable, f"{here}.maxUnavailable")
    found += _percent_or_int(update.maxSurge, f"{here}.maxSurge")
    if not _amount(update.maxUnavailable) and not _amount(update.maxSurge):
        detail = "may not be 0 when `maxSurge` is 0"
        found.append(invalid(f"{here}.maxUnavailable", _go(update.maxUnavailable), detail))
    return found + _not_over_100(update.maxUnavailable, f"{here}.maxUnavailable")


def _not_over_100(value: IntOrString, path: str) -> list[FieldError]:
    return int_or_percent(value, path)[len(_percent_or_int(value, path)) :]


def validate_replica_set(replica_set: ReplicaSet) -> list[FieldError]:
    spec = replica_set.spec
    found = not_negative(spec, "spec", "replicas", "minReadySeconds")
    found += _selector(spec, "spec", "deployment")
    return found + _template(spec, "spec.template", "ReplicaSet")


def immutable_selector(new: Any, old: Any) -> list[FieldError]:
    """A workload's selector may not change."""
    if new.spec.selector == old.spec.selector:
        return []
    return [invalid("spec.selector", selector_rules.go_selector(new.spec.selector), IMMUTABLE)]


def validate_daemon_set(daemon_set: DaemonSet) -> list[FieldError]:
    spec = daemon_set.spec
    found = list(selector_rules.validate_message(spec.selector, "spec.selector"))
    if spec.HasField("selector") and not selects(spec.selector, spec.template.metadata.labels):
        labels = go_labels(spec.template.metadata.labels)
        found.append(invalid("spec.template.metadata.labels", labels, _MISMATCH))
    if spec.HasField("selector"):
        found += [error for error in _selector(spec, "spec", "daemonset") if error not in found]
    found += validate_template(spec.template, "spec.template")
    found += _runs_for_ever(spec.template, "spec.template", "DaemonSet")
    found += not_negative(spec, "spec", "minReadySeconds")
    found += _daemon_strategy(spec.updateStrategy, "spec.updateStrategy")
    return found + not_negative(spec, "spec", "revisionHistoryLimit")


def _daemon_strategy(strategy: DaemonSetUpdateStrategy, path: str) -> list[FieldError]:
    if strategy.type == "OnDelete":
        return []
    if strategy.type != "RollingUpdate":
        shown = json_codec.to_json(strategy)
        return [not_supported(path, shown, ("RollingUpdate", "OnDelete"))]
    update, here = strategy.rollingUpdate, f"{path}.rollingUpdate"
    unavailable, surge = update.maxUnavailable, update.maxSurge
    found = int_or_percent(unavailable, f"{here}.maxUnavailable")
    found += int_or_percent(surge, f"{here}.maxSurge")
    if _amount(unavailable) and _amount(surge):
        detail = "may not be set when maxUnavailable is non-zero"
        found.append(invalid(f"{here}.maxSurge", _go(surge), detail))
    elif not _amount(unavailable) and not _amount(surge):
        found.append(required(f"{here}.maxUnavailable", "cannot be 0 when maxSurge is 0"))
    return found


def validate_stateful_set(stateful_set: StatefulSet) -> list[FieldError]:
    spec = stateful_set.spec
    found = _stateful_policies(spec)
    found += not_negative(spec, "spec", "replicas", "minReadySeconds")
    found += _selector(spec, "spec", "statefulset")
    template = spec.template
    if spec.HasField("selector") and not selects(spec.selector, template.metadata.labels):
        labels = go_labels(template.metadata.labels)
        found.append(invalid("spec.template.metadata.labels", labels, _MISMATCH))
    # As upstream: the rest of the template is judged when its Pods are made.
    found += validate_labels(template.metadata.labels, "spec.template.labels")
    found += validate_annotations(template.metadata.annotations, "spec.template.annotations")
    return found + _runs_for_ever(template, "spec.template", "StatefulSet")


def _stateful_policies(spec: StatefulSetSpec) -> list[FieldError]:
    found: list[FieldError] = []
    if spec.podManagementPolicy not in {"OrderedReady", "Parallel"}:
        detail = "must be 'OrderedReady' or 'Parallel'"
        found.append(invalid("spec.podManagementPolicy", spec.podManagementPolicy, detail))
    strategy = spec.updateStrategy
    if strategy.type == "OnDelete":
        if strategy.HasField("rollingUpdate"):
            detail = "only allowed for updateStrategy 'RollingUpdate'"
            shown = json_codec.to_json(strategy.rollingUpdate)
            found.append(invalid("spec.updateStrategy.rollingUpdate", shown, detail))
    elif strategy.type == "RollingUpdate":
        found += not_negative(
            strategy.rollingUpdate, "spec.updateStrategy.rollingUpdate", "partition"
        )
    else:
        detail = "must be 'RollingUpdate' or 'OnDelete'"
        found.append(invalid("spec.updateStrategy", json_codec.to_json(strategy), detail))
    for name in ("whenDeleted", "whenScaled"):
        value = getattr(spec.persistentVolumeClaimRetentionPolicy, name)
        if value not in {"Retain", "Delete"}:
            here = f"spec.persistentVolumeClaimRetentionPolicy.{name}"
            found.append(not_supported(here, value, ("Retain", "Delete")))
    return found


def validate_stateful_set_update(new: StatefulSet, old: StatefulSet) -> list[FieldError]:
    found = validate_stateful_set(new)
    spec = StatefulSetSpec()
    spec.CopyFrom(new.spec)
    for name in (
        "replicas", "template", "updateStrategy", "minReadySeconds", "ordinals",
        "persistentVolumeClaimRetentionPolicy", "revisionHistoryLimit",
    ):  # fmt: skip
        spec.ClearField(name)
        if old.spec.HasField(name):
            copy_field(spec, old.spec, name)
    if json_codec.to_json(spec) != json_codec.to_json(old.spec):
        detail = (
            "updates to statefulset spec for fields other than 'replicas', 'ordinals', "
            "'template', 'updateStrategy', 'persistentVolumeClaimRetentionPolicy' and "
            "'minReadySeconds' are forbidden"
        )
        found.append(forbidden_field("spec", detail))
    return found


def copy_field(target: Any, source: Any, name: str) -> None:
    """Copies a singular field."""
    value = getattr(source, name)
    if hasattr(value, "DESCRIPTOR"):
        getattr(target, name).CopyFrom(value)
    else:
        setattr(target, name, value)


def validate_replication_controller(controller: ReplicationController) -> list[FieldError]:
    spec = controller.spec
    found = not_negative(spec, "spec", "minReadySeconds")
    if not spec.selector:
        found.append(required("spec.selector"))
    found += not_negative(spec, "spec", "replicas")
    if not spec.HasField("template"):
        return [*found, required("spec.template")]
    labels = spec.template.metadata.labels
    if spec.selector and not selectors.from_labels(spec.selector).matches(labels):
        found.append(invalid("spec.template.metadata.labels", go_labels(labels), _MISMATCH))
    found += validate_template(spec.template, "spec.template")
    return found + _runs_for_ever(spec.template, "spec.template", "ReplicationController")
