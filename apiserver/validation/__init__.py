"""What is wrong with an object: pure functions, in upstream's words.

An object has been defaulted before it comes here. Each kind has rules for itself (`_CREATE`) and
perhaps for a change of it (`_UPDATE`); metadata is checked for all kinds alike.

Source: pkg/apis/*/validation/validation.go.
"""

from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message

from apiserver.validation import metadata
from apiserver.validation.metadata import validate_metadata, validate_metadata_update
from podpath.api.errors import FieldError
from podpath.api.scheme import Resource

Rules = Callable[[Any], list[FieldError]]
UpdateRules = Callable[[Any, Any], list[FieldError]]

_NAME_RULES: dict[tuple[str, str], metadata.NameRule] = {
    ("", "Namespace"): metadata.dns_label,
    ("", "Service"): metadata.dns_1035_label,
    ("apps", "StatefulSet"): metadata.dns_label,
    ("networking.k8s.io", "IPAddress"): metadata.ip_address,
    ("rbac.authorization.k8s.io", "ClusterRole"): metadata.path_segment,
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): metadata.path_segment,
    ("rbac.authorization.k8s.io", "Role"): metadata.path_segment,
    ("rbac.authorization.k8s.io", "RoleBinding"): metadata.path_segment,
}

_CREATE: dict[tuple[str, str], Rules] = {}
_UPDATE: dict[tuple[str, str], UpdateRules] = {}

# Reviews are answered, not stored: their metadata says nothing.
_WITHOUT_NAME = {"authentication.k8s.io", "authorization.k8s.io"}


def validate_create(resource: Resource[Any], message: Message) -> list[FieldError]:
    """What is wrong with a new object; empty if nothing is."""
    obj: Any = message
    key = (resource.group, resource.kind)
    found: list[FieldError] = []
    if resource.group not in _WITHOUT_NAME:
        rule = _NAME_RULES.get(key, metadata.dns_subdomain)
        found += validate_metadata(obj.metadata, resource.namespaced, rule)
    rules = _CREATE.get(key)
    return found + rules(obj) if rules is not None else found


def validate_update(resource: Resource[Any], new: Message, old: Message) -> list[FieldError]:
    """What is wrong with replacing `old` by `new`; empty if nothing is."""
    new_object: Any = new
    old_object: Any = old
    key = (resource.group, resource.kind)
    found = validate_metadata_update(new_object.metadata, old_object.metadata)
    update_rules = _UPDATE.get(key)
    if update_rules is not None:
        return found + update_rules(new_object, old_object)
    rules = _CREATE.get(key)
    return found + rules(new_object) if rules is not None else found
