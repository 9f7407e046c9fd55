"""Kinds of the core group, apart from Pods, Services and policies.

Source: pkg/apis/core/validation/validation.go.
"""

import ipaddress
from collections.abc import Sequence
from typing import Any

from apiserver.validation.metadata import IMMUTABLE, validate_label_name
from apiserver.validation.pod import validate_template
from apiserver.validation.resources import parsed, validate_amount
from apiserver.validation.scheduling import validate_taint_effect
from podpath.api import json_codec, names
from podpath.api.errors import (
    FieldError,
    duplicate,
    forbidden_field,
    invalid,
    not_supported,
    required,
    too_long,
)
from protos.k8s.core_v1_pb2 import (
    Binding,
    ConfigMap,
    Namespace,
    Node,
    PersistentVolumeClaim,
    PodTemplate,
    Secret,
    Taint,
)

DATA_BYTES_MAX = 1024 * 1024
_FROZEN = "field is immutable when `immutable` is set"
_SECRET_KEYS = {
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}
_ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")


def validate_namespace(namespace: Namespace) -> list[FieldError]:
    found: list[FieldError] = []
    for finalizer in namespace.spec.finalizers:
        found += validate_label_name(finalizer, "spec.finalizers")
        if "/" not in finalizer and finalizer not in {"kubernetes", "orphan", "foregroundDeletion"}:
            detail = "name is neither a standard finalizer name nor is it fully qualified"
            found.append(invalid("spec.finalizers", finalizer, detail))
    return found


def validate_namespace_update(new: Namespace, old: Namespace) -> list[FieldError]:
    return []


def validate_node(node: Node) -> list[FieldError]:
    found = _taints(node.spec.taints, "metadata.taints") + _node_resources(node)
    for index, cidr in enumerate(node.spec.podCIDRs):
        found += cidr_problems(cidr, f"spec.podCIDRs[{index}]")
    return found


def validate_node_update(new: Node, old: Node) -> list[FieldError]:
    found = _node_resources(new)
    seen: set[tuple[str, str]] = set()
    for index, address in enumerate(new.status.addresses):
        pair = (address.type, address.address)
        if pair in seen:
            shown = json_codec.to_json(address)
            found.append(duplicate(f"status.addresses[{index}]", shown))
        seen.add(pair)
    if old.spec.podCIDRs and list(old.spec.podCIDRs) != list(new.spec.podCIDRs):
        detail = 'node updates may not change podCIDR except from "" to valid'
        found.append(forbidden_field("spec.podCIDRs", detail))
    if old.spec.providerID and old.spec.providerID != new.spec.providerID:
        detail = 'node updates may not change providerID except from "" to valid'
        found.append(forbidden_field("spec.providerID", detail))
    return found + _taints(new.spec.taints, "metadata.taints")


def _node_resources(node: Node) -> list[FieldError]:
    found: list[FieldError] = []
    for kind in ("capacity", "allocatable"):
        amounts = getattr(node.status, kind)
        for name in sorted(amounts):
            found += validate_amount(name, amounts[name], f"status.{kind}.{name}")
    return found


def _taints(taints: Sequence[Taint], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    seen: set[tuple[str, str]] = set()
    for index, taint in enumerate(taints):
        here = f"{path}[{index}]"
        found += validate_label_name(taint.key, f"{here}.key")
        problems = names.label_value_problems(taint.value)
        if problems:
            found.append(invalid(f"{here}.value", taint.value, ";".join(problems)))
        found += validate_taint_effect(taint.effect, f"{here}.effect")
        pair = (taint.key, taint.effect)
        if pair in seen:
            error = duplicate(here, json_codec.to_json(taint))
            text = f"{error.message}: taints must be unique by key and effect pair"
            found.append(FieldError(error.reason, here, text))
        seen.add(pair)
    return found


def cidr_problems(value: str, path: str) -> list[FieldError]:
    try:
        if "/" not in value:
            raise ValueError(value)
        ipaddress.ip_network(value, strict=False)
    except ValueError:
        detail = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
        return [invalid(path, value, detail)]
    return []


def validate_config_map(config_map: ConfigMap) -> list[FieldError]:
    found: list[FieldError] = []
    size = 0
    for key, text in sorted(config_map.data.items()):
        here = f"data[{key}]"
        found += [invalid(here, key, problem) for problem in names.config_key_problems(key)]
        if key in config_map.binaryData:
            found.append(invalid(here, key, "duplicate of key present in binaryData"))
        size += len(text) if text.isascii() else len(text.encode())
    for key, data in sorted(config_map.binaryData.items()):
        here = f"binaryData[{key}]"
        found += [invalid(here, key, problem) for problem in names.config_key_problems(key)]
        size += len(data)
    if size > DATA_BYTES_MAX:
        found.append(too_long("", DATA_BYTES_MAX))
    return found


def _frozen(new: Any, old: Any, *fields: str) -> list[FieldError]:
    if not old.immutable:
        return []
    found = [] if new.immutable else [forbidden_field("immutable", _FROZEN)]
    return found + [
        forbidden_field(name, _FROZEN)
        for name in fields
        if dict(getattr(new, name)) != dict(getattr(old, name))
    ]


def validate_config_map_update(new: ConfigMap, old: ConfigMap) -> list[FieldError]:
    return _frozen(new, old, "data", "binaryData") + validate_config_map(new)


def validate_secret(secret: Secret) -> list[FieldError]:
    found: list[FieldError] = []
    for key in sorted(secret.data):
        here = f"data[{key}]"
        found += [invalid(here, key, problem) for problem in names.config_key_problems(key)]
    if sum(map(len, secret.data.values())) > DATA_BYTES_MAX:
        found.append(too_long("data", DATA_BYTES_MAX))
    return found + _secret_type(secret)


def _secret_type(secret: Secret) -> list[FieldError]:
    """What a Secret of a well-known type must hold."""
    if secret.type == "kubernetes.io/service-account-token":
        name = "kubernetes.io/service-account.name"
        owner = secret.metadata.annotations.get(name)
        return [] if owner else [required(f"metadata.annotations[{name}]")]
    if secret.type == "kubernetes.io/basic-auth":
        keys = ("username", "password")
        missing = not any(key in secret.data for key in keys)
        return [required(f"data[{key}]") for key in keys] if missing else []
    if secret.type == "kubernetes.io/ssh-auth":
        key = "ssh-privatekey"
        return [] if secret.data.get(key) else [required(f"data[{key}]")]
    needed = _SECRET_KEYS.get(secret.type, ())
    return [required(f"data[{key}]") for key in needed if key not in secret.data]


def validate_secret_update(new: Secret, old: Secret) -> list[FieldError]:
    found = [invalid("type", new.type, IMMUTABLE)] if new.type != old.type else []
    return found + _frozen(new, old, "data") + validate_secret(new)


def validate_pod_template(template: PodTemplate) -> list[FieldError]:
    return validate_template(template.template, "template")


def validate_claim(claim: PersistentVolumeClaim) -> list[FieldError]:
    spec = claim.spec
    found: list[FieldError] = []
    if not spec.accessModes:
        found.append(required("spec.accessModes", "at least 1 access mode is required"))
    found += [
        not_supported("spec.accessModes", mode, _ACCESS_MODES)
        for mode in spec.accessModes
        if mode not in _ACCESS_MODES
    ]
    if "storage" not in spec.resources.requests:
        found.append(required("spec.resources[storage]"))
    else:
        storage = parsed(spec.resources.requests["storage"])
        if storage.unscaled <= 0:
            detail = "must be greater than zero"
            found.append(invalid("spec.resources[storage]", storage.text, detail))
    return found


def validate_binding(binding: Binding) -> list[FieldError]:
    """What a Binding says, apart from its Pod."""
    found = []
    if binding.target.kind not in {"", "Node"}:
        supported = ("Node", "<empty>")
        found.append(not_supported("target.kind", binding.target.kind, supported))
    if not binding.target.name:
        found.append(required("target.name"))
    return found
