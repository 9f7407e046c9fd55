"""What a Pod asks of the scheduler: affinity, tolerations, spreading, gates.

Source: pkg/apis/core/validation/validation.go (validateAffinity, ValidateTolerations,
validateTopologySpreadConstraints, validateSchedulingGates).
"""

from collections.abc import Sequence

from apiserver.validation.metadata import validate_label_name
from podpath.api import names
from podpath.api.errors import (
    FieldError,
    duplicate,
    forbidden_field,
    invalid,
    not_supported,
    required,
)
from podpath.api.selector_rules import validate_message
from protos.k8s.core_v1_pb2 import (
    Affinity,
    NodeAffinity,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    PodAffinity,
    PodAffinityTerm,
    PodAntiAffinity,
    PodSchedulingGate,
    Toleration,
    TopologySpreadConstraint,
)

NOT_POSITIVE = "must be greater than zero"
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_TAINT_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_ACTIONS = ("DoNotSchedule", "ScheduleAnyway")
_BAD_OPERATOR = "not a valid selector operator"


def validate_affinity(affinity: Affinity, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    if affinity.HasField("nodeAffinity"):
        found += _node_affinity(affinity.nodeAffinity, f"{path}.nodeAffinity")
    if affinity.HasField("podAffinity"):
        found += _pod_affinity(affinity.podAffinity, f"{path}.podAffinity")
    if affinity.HasField("podAntiAffinity"):
        found += _pod_affinity(affinity.podAntiAffinity, f"{path}.podAntiAffinity")
    return found


def _node_affinity(affinity: NodeAffinity, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    if affinity.HasField(_REQUIRED):
        selector = affinity.requiredDuringSchedulingIgnoredDuringExecution
        found += validate_node_selector(selector, f"{path}.{_REQUIRED}")
    for index, term in enumerate(affinity.preferredDuringSchedulingIgnoredDuringExecution):
        here = f"{path}.{_PREFERRED}[{index}]"
        found += _weight(term.weight, here)
        found += _node_selector_term(term.preference, f"{here}.preference")
    return found


def _weight(weight: int, path: str) -> list[FieldError]:
    if 1 <= weight <= 100:
        return []
    return [invalid(f"{path}.weight", weight, "must be in the range 1-100")]


def validate_node_selector(selector: NodeSelector, path: str) -> list[FieldError]:
    here = f"{path}.nodeSelectorTerms"
    if not selector.nodeSelectorTerms:
        return [required(here, "must have at least one node selector term")]
    found: list[FieldError] = []
    for index, term in enumerate(selector.nodeSelectorTerms):
        found += _node_selector_term(term, f"{here}[{index}]")
    return found


def _node_selector_term(term: NodeSelectorTerm, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for index, requirement in enumerate(term.matchExpressions):
        found += _node_requirement(requirement, f"{path}.matchExpressions[{index}]")
    for index, requirement in enumerate(term.matchFields):
        found += _node_field_requirement(requirement, f"{path}.matchFields[{index}]")
    return found


def _node_requirement(requirement: NodeSelectorRequirement, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    values = f"{path}.values"
    match requirement.operator:
        case "In" | "NotIn":
            if not requirement.values:
                detail = "must be specified when `operator` is 'In' or 'NotIn'"
                found.append(required(values, detail))
        case "Exists" | "DoesNotExist":
            if requirement.values:
                detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                found.append(forbidden_field(values, detail))
        case "Gt" | "Lt":
            if len(requirement.values) != 1:
                detail = "must be specified single value when `operator` is 'Lt' or 'Gt'"
                found.append(required(values, detail))
        case _:
            found.append(invalid(f"{path}.operator", requirement.operator, _BAD_OPERATOR))
    return found + validate_label_name(requirement.key, f"{path}.key")


def _node_field_requirement(requirement: NodeSelectorRequirement, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    if requirement.operator not in {"In", "NotIn"}:
        found.append(invalid(f"{path}.operator", requirement.operator, _BAD_OPERATOR))
    elif len(requirement.values) != 1:
        detail = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
        found.append(required(f"{path}.values", detail))
    if requirement.key != "metadata.name":
        detail = "not a valid field selector key"
        return [*found, invalid(f"{path}.key", requirement.key, detail)]
    for index, value in enumerate(requirement.values):
        texts = names.dns_subdomain_problems(value)
        found += [invalid(f"{path}.values[{index}]", value, text) for text in texts]
    return found


def _pod_affinity(affinity: PodAffinity | PodAntiAffinity, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for index, term in enumerate(affinity.requiredDuringSchedulingIgnoredDuringExecution):
        found += _pod_affinity_term(term, f"{path}.{_REQUIRED}[{index}]")
    for index, weighted in enumerate(affinity.preferredDuringSchedulingIgnoredDuringExecution):
        here = f"{path}.{_PREFERRED}[{index}]"
        found += _weight(weighted.weight, here)
        found += _pod_affinity_term(weighted.podAffinityTerm, f"{here}.podAffinityTerm")
    return found


def _pod_affinity_term(term: PodAffinityTerm, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    if term.HasField("labelSelector"):
        found += validate_message(term.labelSelector, f"{path}.labelSelector")
    if term.HasField("namespaceSelector"):
        found += validate_message(term.namespaceSelector, f"{path}.namespaceSelector")
    for name in term.namespaces:
        texts = names.dns_label_problems(name)
        found += [invalid(f"{path}.namespace", name, text) for text in texts]
    if not term.topologyKey:
        found.append(required(f"{path}.topologyKey", "can not be empty"))
    return found + validate_label_name(term.topologyKey, f"{path}.topologyKey")


def validate_tolerations(tolerations: Sequence[Toleration], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for index, toleration in enumerate(tolerations):
        here = f"{path}[{index}]"
        if toleration.key:
            found += validate_label_name(toleration.key, f"{here}.key")
        elif toleration.operator != "Exists":
            detail = (
                "operator must be Exists when `key` is empty, which means "
                '"match all values and all keys"'
            )
            found.append(invalid(f"{here}.operator", toleration.operator, detail))
        if toleration.HasField("tolerationSeconds") and toleration.effect != "NoExecute":
            detail = "effect must be 'NoExecute' when `tolerationSeconds` is set"
            found.append(invalid(f"{here}.effect", toleration.effect, detail))
        found += _toleration_operator(toleration, f"{here}.operator")
        if toleration.effect:
            found += validate_taint_effect(toleration.effect, f"{here}.effect")
    return found


def _toleration_operator(toleration: Toleration, path: str) -> list[FieldError]:
    if toleration.operator in {"", "Equal"}:
        problems = names.label_value_problems(toleration.value)
        return [invalid(path, toleration.value, ";".join(problems))] if problems else []
    if toleration.operator == "Exists":
        detail = "value must be empty when `operator` is 'Exists'"
        return [invalid(path, toleration.value, detail)] if toleration.value else []
    return [not_supported(path, toleration.operator, ("Equal", "Exists"))]


def validate_taint_effect(effect: str, path: str) -> list[FieldError]:
    if not effect:
        return [required(path)]
    return [] if effect in _TAINT_EFFECTS else [not_supported(path, effect, _TAINT_EFFECTS)]


def validate_spread(constraints: Sequence[TopologySpreadConstraint], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for index, constraint in enumerate(constraints):
        here = f"{path}[{index}]"
        if constraint.maxSkew <= 0:
            found.append(invalid(f"{here}.maxSkew", constraint.maxSkew, NOT_POSITIVE))
        if not constraint.topologyKey:
            found.append(required(f"{here}.topologyKey", "can not be empty"))
        action = constraint.whenUnsatisfiable
        if action not in _ACTIONS:
            found.append(not_supported(f"{here}.whenUnsatisfiable", action, _ACTIONS))
        pair = (constraint.topologyKey, action)
        if pair in {
            (other.topologyKey, other.whenUnsatisfiable) for other in constraints[index + 1 :]
        }:
            at = f"{here}.{{topologyKey, whenUnsatisfiable}}"
            found.append(duplicate(at, f"{{{pair[0]}, {pair[1]}}}"))
        found += _min_domains(constraint, f"{here}.minDomains")
        found += _spread_policies(constraint, here)
        if constraint.HasField("labelSelector"):
            found += validate_message(constraint.labelSelector, f"{here}.labelSelector")
    return found


def _min_domains(constraint: TopologySpreadConstraint, path: str) -> list[FieldError]:
    if not constraint.HasField("minDomains"):
        return []
    found = []
    if constraint.minDomains <= 0:
        found.append(invalid(path, constraint.minDomains, NOT_POSITIVE))
    action = constraint.whenUnsatisfiable
    if action != "DoNotSchedule":
        detail = f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}"
        found.append(invalid(path, constraint.minDomains, detail))
    return found


def _spread_policies(constraint: TopologySpreadConstraint, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for name in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
        policy = getattr(constraint, name)
        if constraint.HasField(name) and policy not in {"Honor", "Ignore"}:
            found.append(not_supported(f"{path}.{name}", policy, ("Honor", "Ignore")))
    if not constraint.matchLabelKeys:
        return found
    here = f"{path}.matchLabelKeys"
    selector = constraint.labelSelector
    if not constraint.HasField("labelSelector"):
        detail = "must not be specified when labelSelector is not set"
        found.append(forbidden_field(here, detail))
    keys = {*selector.matchLabels, *(each.key for each in selector.matchExpressions)}
    for index, key in enumerate(constraint.matchLabelKeys):
        found += validate_label_name(key, f"{here}[{index}]")
        if key in keys:
            detail = "exists in both matchLabelKeys and labelSelector"
            found.append(invalid(f"{here}[{index}]", key, detail))
    return found


def validate_gates(gates: Sequence[PodSchedulingGate], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    seen: set[str] = set()
    for index, gate in enumerate(gates):
        here = f"{path}[{index}]"
        found += validate_label_name(gate.name, here)
        if gate.name in seen:
            found.append(duplicate(here, gate.name))
        seen.add(gate.name)
    return found
