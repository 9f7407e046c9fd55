"""Matching nodes against nodeSelector and node affinity terms.

Source: k8s.io/component-helpers scheduling/corev1/nodeaffinity/nodeaffinity.go.
"""

from collections.abc import Iterable, Mapping

from protos.k8s.core_v1_pb2 import Node, NodeSelectorRequirement, NodeSelectorTerm, Pod


def matches_required(pod: Pod, node: Node) -> bool:
    """nodeSelector and requiredDuringSchedulingIgnoredDuringExecution both hold."""
    labels = node.metadata.labels
    if any(labels.get(key) != value for key, value in pod.spec.nodeSelector.items()):
        return False
    affinity = pod.spec.affinity.nodeAffinity
    if not affinity.HasField("requiredDuringSchedulingIgnoredDuringExecution"):
        return True
    terms = affinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms
    return matches_any(terms, node)


def matches_any(terms: Iterable[NodeSelectorTerm], node: Node) -> bool:
    """Terms are alternatives."""
    return any(matches_term(term, node) for term in terms)


def matches_term(term: NodeSelectorTerm, node: Node) -> bool:
    """All expressions and fields of the term hold; an empty term matches nothing."""
    if not term.matchExpressions and not term.matchFields:
        return False
    fields = {"metadata.name": node.metadata.name}
    return _all_hold(term.matchExpressions, node.metadata.labels) and _all_hold(
        term.matchFields, fields
    )


def _all_hold(requirements: Iterable[NodeSelectorRequirement], values: Mapping[str, str]) -> bool:
    return all(_holds(requirement, values) for requirement in requirements)


def _holds(requirement: NodeSelectorRequirement, values: Mapping[str, str]) -> bool:
    present = requirement.key in values
    value = values[requirement.key] if present else ""
    match requirement.operator:
        case "In":
            return present and value in requirement.values
        case "NotIn":
            return not present or value not in requirement.values
        case "Exists":
            return present
        case "DoesNotExist":
            return not present
        case "Gt" | "Lt":
            return present and _compares(requirement, value)
    return False


def _compares(requirement: NodeSelectorRequirement, value: str) -> bool:
    try:
        have, bound = int(value), int(requirement.values[0])
    except (ValueError, IndexError):
        return False
    return have > bound if requirement.operator == "Gt" else have < bound
