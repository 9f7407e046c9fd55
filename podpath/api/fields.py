"""Which fields of an object a field selector may name, and what they hold.

Source: pkg/apis/core/v1/conversion.go and its siblings (AddFieldLabelConversionFunc), as listed in
the REST facts of Kubernetes 1.33.4; k8s.io/apimachinery pkg/runtime/conversion.go.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from google.protobuf.message import Message

from podpath.api import errors, field_selectors, selectors
from podpath.api.label_lexer import SelectorError
from podpath.api.scheme import Resource

Getter = Callable[[Any], str]

_NAMESPACED = ("metadata.name", "metadata.namespace")
_OBJECT_REFERENCE = (
    "apiVersion", "fieldPath", "kind", "name", "namespace", "resourceVersion", "uid",
)  # fmt: skip

_LABELS: dict[tuple[str, str], tuple[str, ...]] = {
    ("batch/v1", "Job"): (*_NAMESPACED, "status.successful"),
    ("certificates.k8s.io/v1", "CertificateSigningRequest"): ("metadata.name", "spec.signerName"),
    ("events.k8s.io/v1", "Event"): (
        *_NAMESPACED,
        "reason",
        *(f"regarding.{name}" for name in _OBJECT_REFERENCE),
        "reportingController",
        "type",
    ),
    ("v1", "Event"): (
        *(f"involvedObject.{name}" for name in _OBJECT_REFERENCE),
        *_NAMESPACED,
        "reason",
        "reportingComponent",
        "source",
        "type",
    ),
    ("v1", "Namespace"): ("metadata.name", "status.phase"),
    ("v1", "Node"): ("metadata.name", "spec.unschedulable"),
    ("v1", "Pod"): (
        *_NAMESPACED,
        "spec.hostNetwork",
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "status.nominatedNodeName",
        "status.phase",
        "status.podIP",
        "status.podIPs",
    ),
    ("v1", "ReplicationController"): (*_NAMESPACED, "status.replicas"),
    ("v1", "Secret"): (*_NAMESPACED, "type"),
    ("v1", "Service"): (*_NAMESPACED, "spec.clusterIP", "spec.type"),
}

# Where the field's value is not that of the path.
_SPECIAL: dict[tuple[str, str], dict[str, Getter]] = {
    ("batch/v1", "Job"): {"status.successful": lambda job: str(job.status.succeeded)},
    ("v1", "Event"): {
        "source": lambda event: event.source.component or event.reportingComponent,
    },
    ("v1", "Pod"): {
        "status.podIPs": lambda pod: ",".join(ip.ip for ip in pod.status.podIPs),
    },
}


def selectable_fields(resource: Resource[Any]) -> tuple[str, ...]:
    """The fields a selector on this resource may name."""
    return _LABELS.get((resource.api_version, resource.kind), _NAMESPACED)


@cache
def _getter(resource: Resource[Any], field: str) -> Getter:
    special = _SPECIAL.get((resource.api_version, resource.kind), {})
    if field in special:
        return special[field]
    path = field.split(".")

    def get(message: Any) -> str:
        value = message
        for step in path:
            value = getattr(value, step)
        if isinstance(value, bool):
            return "true" if value else "false"
        return str(value)

    return get


def field_values(
    resource: Resource[Any], message: Message, selector: field_selectors.FieldSelector
) -> dict[str, str]:
    """What the object holds in the fields that `selector` names."""
    return {term.field: _getter(resource, term.field)(message) for term in selector.terms}


def matches(
    resource: Resource[Any], message: Message, selector: field_selectors.FieldSelector
) -> bool:
    """True if the object's fields are as the selector asks."""
    return all(
        (_getter(resource, term.field)(message) == term.value) is term.equal
        for term in selector.terms
    )


def parse(resource: Resource[Any], text: str) -> field_selectors.FieldSelector:
    """A field selector for this resource. Raises: ApiError (BadRequest) with upstream's text."""
    try:
        selector = field_selectors.parse(text)
    except SelectorError as error:
        raise errors.bad_request(str(error)) from None
    known = selectable_fields(resource)
    for term in selector.terms:
        if term.field not in known:
            raise errors.bad_request(_unsupported(resource, term.field))
    return selector


def _unsupported(resource: Resource[Any], field: str) -> str:
    if resource.kind == "Job":
        return f'field label "{field}" not supported for Job'
    if (resource.api_version, resource.kind) in _LABELS:
        return f"field label not supported: {field}"
    return f'"{field}" is not a known field selector: only "metadata.name", "metadata.namespace"'


def parse_labels(text: str) -> selectors.LabelSelector:
    """A label selector. Raises: ApiError (BadRequest) with upstream's text."""
    try:
        return selectors.parse(text)
    except SelectorError as error:
        raise errors.bad_request(str(error)) from None
