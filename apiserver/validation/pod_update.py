"""What of a Pod may change once it exists.

Source: pkg/apis/core/validation/validation.go (ValidatePodUpdate).
"""

import difflib
from collections.abc import Sequence

import orjson

from apiserver.validation.pod import validate_pod_body
from apiserver.validation.scheduling import validate_tolerations
from podpath.api import json_codec, names
from podpath.api.errors import FieldError, forbidden_field, go_labels, invalid
from protos.k8s.core_v1_pb2 import (
    NodeAffinity,
    NodeSelectorTerm,
    Pod,
    PodSchedulingGate,
    PodSpec,
    Toleration,
)

_INT32_MAX = 2**31 - 1
_UPDATABLE = (
    "`spec.containers[*].image`",
    "`spec.initContainers[*].image`",
    "`spec.activeDeadlineSeconds`",
    "`spec.tolerations` (only additions to existing tolerations)",
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
)


def validate_pod_update(new: Pod, old: Pod) -> list[FieldError]:
    """A changed Pod, apart from its metadata."""
    found = validate_pod_body(new)
    for name in ("containers", "initContainers"):
        if len(getattr(new.spec, name)) != len(getattr(old.spec, name)):
            detail = "pod updates may not add or remove containers"
            return [*found, forbidden_field(f"spec.{name}", detail)]
    found += _deadline(new.spec, old.spec)
    if new.spec == old.spec:
        return found
    found += _tolerations(new.spec.tolerations, old.spec.tolerations)
    found += _gates(new.spec.schedulingGates, old.spec.schedulingGates)
    allowed = _with_allowed_changes(new.spec, old.spec)
    if old.spec.schedulingGates:
        found += _gated_changes(allowed, old.spec)
    before, after = _json(old.spec), _json(allowed)
    if before != after:
        text = (
            f"pod updates may not change fields other than {','.join(_UPDATABLE)}\n"
            f"{_difference(before, after)}"
        )
        found.append(forbidden_field("spec", text))
    return found


def _json(spec: PodSpec) -> str:
    """The spec as text; absent and zero fields that mean the same look the same."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS
    return orjson.dumps(json_codec.to_json(spec), option=options).decode()


def _difference(before: str, after: str) -> str:
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=1)
    return "\n".join(list(lines)[2:]) + "\n"


def _deadline(new: PodSpec, old: PodSpec) -> list[FieldError]:
    here = "spec.activeDeadlineSeconds"
    had = old.HasField("activeDeadlineSeconds")
    if not new.HasField("activeDeadlineSeconds"):
        detail = "must not update from a positive integer to nil value"
        return [invalid(here, None, detail)] if had else []
    value = new.activeDeadlineSeconds
    found = []
    if not 0 <= value <= _INT32_MAX:
        found.append(invalid(here, value, names.range_text(0, _INT32_MAX)))
    if had and old.activeDeadlineSeconds < value:
        found.append(invalid(here, value, "must be less than or equal to previous value"))
    return found


def _tolerations(new: Sequence[Toleration], old: Sequence[Toleration]) -> list[FieldError]:
    def bare(toleration: Toleration) -> tuple[str, str, str, str]:
        return toleration.key, toleration.operator, toleration.value, toleration.effect

    present = {bare(toleration) for toleration in new}
    detail = "existing toleration can not be modified except its tolerationSeconds"
    found = [forbidden_field("spec.tolerations", detail) for t in old if bare(t) not in present]
    return found + validate_tolerations(new, "spec.tolerations")


def _gates(new: Sequence[PodSchedulingGate], old: Sequence[PodSchedulingGate]) -> list[FieldError]:
    before = {gate.name for gate in old}
    return [
        forbidden_field(
            f"spec.schedulingGates[{index}].name",
            f"only deletion is allowed, but found new scheduling gate '{gate.name}'",
        )
        for index, gate in enumerate(new)
        if gate.name not in before
    ]


def _with_allowed_changes(new: PodSpec, old: PodSpec) -> PodSpec:
    """The new spec with everything that may change put back as it was."""
    spec = PodSpec()
    spec.CopyFrom(new)
    for name in ("containers", "initContainers"):
        for container, before in zip(getattr(spec, name), getattr(old, name), strict=True):
            container.image = before.image
    spec.ClearField("activeDeadlineSeconds")
    if old.HasField("activeDeadlineSeconds"):
        spec.activeDeadlineSeconds = old.activeDeadlineSeconds
    del spec.schedulingGates[:]
    spec.schedulingGates.extend(old.schedulingGates)
    del spec.tolerations[:]
    spec.tolerations.extend(old.tolerations)
    if old.terminationGracePeriodSeconds < 0 and spec.terminationGracePeriodSeconds == 1:
        spec.terminationGracePeriodSeconds = old.terminationGracePeriodSeconds
    return spec


def _gated_changes(spec: PodSpec, old: PodSpec) -> list[FieldError]:
    """While a Pod is gated its choice of nodes may be narrowed; `spec` gets the old one back."""
    found = []
    for key, value in sorted(old.nodeSelector.items()):
        if spec.nodeSelector.get(key) != value:
            detail = "only additions to spec.nodeSelector are allowed (no mutations or deletions)"
            found.append(invalid("spec.nodeSelector", go_labels(spec.nodeSelector), detail))
    spec.nodeSelector.clear()
    spec.nodeSelector.update(old.nodeSelector)
    found += _node_affinity(spec.affinity.nodeAffinity, old.affinity.nodeAffinity)
    spec.affinity.ClearField("nodeAffinity")
    if old.affinity.HasField("nodeAffinity"):
        spec.affinity.nodeAffinity.CopyFrom(old.affinity.nodeAffinity)
    elif not spec.affinity.ListFields() and not old.HasField("affinity"):
        spec.ClearField("affinity")
    return found


def _node_affinity(new: NodeAffinity, old: NodeAffinity) -> list[FieldError]:
    before = old.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms
    after = new.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms
    if not before:
        return []
    here = (
        "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution"
        ".nodeSelectorTerms"
    )
    if len(after) != len(before):
        detail = "no additions/deletions to non-empty NodeSelectorTerms list are allowed"
        return [invalid(here, [json_codec.to_json(term) for term in after], detail)]
    detail = "only additions are allowed (no mutations or deletions)"
    return [
        invalid(f"{here}[{index}]", json_codec.to_json(term), detail)
        for index, (term, was) in enumerate(zip(after, before, strict=True))
        if not _only_added(term, was)
    ]


def _only_added(new: NodeSelectorTerm, old: NodeSelectorTerm) -> bool:
    """True if all requirements are still there, in their places."""
    if not old.ListFields() and new.ListFields():
        return False
    return all(
        list(getattr(new, name))[: len(getattr(old, name))] == list(getattr(old, name))
        for name in ("matchExpressions", "matchFields")
    )
