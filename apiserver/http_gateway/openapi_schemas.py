"""JSON schemas of the served kinds, made from the descriptors.

The same tree serves OpenAPI v2 and v3; they differ in where references point and in how unions
are written. Types are named as upstream names them: `io.k8s.api.core.v1.Pod`.

Source: the published OpenAPI documents of Kubernetes 1.33; k8s.io/kube-openapi.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import Message

from podpath.api.apply import list_types
from podpath.api.go_fields import GoField, go_fields, has_type_meta, special_kind
from podpath.api.scheme import Resource
from protos.k8s import meta_v1_pb2

_META_PREFIX = "io.k8s.apimachinery.pkg.apis.meta.v1."
_STRING_ARRAY = {"type": "array", "items": {"type": "string", "default": ""}}
_SCALARS: dict[str, dict[str, Any]] = {
    "string": {"type": "string"},
    "bytes": {"type": "string", "format": "byte"},
    "bool": {"type": "boolean"},
    "int32": {"type": "integer", "format": "int32"},
    "int64": {"type": "integer", "format": "int64"},
}
_ZERO: dict[str, Any] = {"string": "", "bool": False, "int32": 0, "int64": 0}
_SPECIAL_V2: dict[str, dict[str, Any]] = {
    "time": {"type": "string", "format": "date-time"},
    "micro_time": {"type": "string", "format": "date-time"},
    "duration": {"type": "string"},
    "raw": {"type": "object"},
    "quantity": {"type": "string"},
    "int_or_string": {"type": "string", "format": "int-or-string"},
}
_SPECIAL_V3 = _SPECIAL_V2 | {
    "quantity": {"oneOf": [{"type": "string"}, {"type": "number"}]},
    "int_or_string": {
        "oneOf": [{"type": "integer"}, {"type": "string"}],
        "format": "int-or-string",
    },
}
TYPE_META = {
    "apiVersion": {
        "type": "string",
        "description": "The version of the schema that this object is written in.",
    },
    "kind": {
        "type": "string",
        "description": "The kind of resource that this object represents, in CamelCase.",
    },
}


def schema_name(message: type[Message]) -> str:
    """`k8s.io.api.core.v1.Pod` -> `io.k8s.api.core.v1.Pod`."""
    return f"io.k8s.{message.DESCRIPTOR.full_name.removeprefix('k8s.io.')}"


@dataclass
class Schemas:
    """Collects the schemas of messages and of everything they refer to."""

    version: int
    found: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def _prefix(self) -> str:
        return "#/definitions/" if self.version == 2 else "#/components/schemas/"

    def reference(self, message: type[Message]) -> dict[str, Any]:
        """A `$ref`; the schema it names is added with all that it needs."""
        name = schema_name(message)
        if name not in self.found:
            self.found[name] = {}  # stands for it while recursive types are walked
            self.found[name] = self._schema(message)
        return {"$ref": self._prefix + name}

    def add_kind(self, resource: Resource[Message]) -> None:
        """A kind and its list, each marked with its group, version and kind."""
        self.reference(resource.message)
        kind_of = {"group": resource.group, "version": resource.version}
        schema = self.found[schema_name(resource.message)]
        schema["x-kubernetes-group-version-kind"] = [kind_of | {"kind": resource.kind}]
        if "list" in resource.verbs:
            name = f"{schema_name(resource.message)}List"
            self.found.setdefault(name, self._list_schema(resource))

    def add_common(self, groups: Iterable[tuple[str, str]]) -> None:
        """The kinds that every group takes and gives."""
        versions = list(groups)
        for message in (meta_v1_pb2.DeleteOptions, meta_v1_pb2.Status, meta_v1_pb2.APIResourceList):
            self.reference(message)
            schema = self.found[schema_name(message)]
            kind = message.DESCRIPTOR.name
            served = versions if kind == "DeleteOptions" else [("", "v1")]
            schema["properties"] = schema.get("properties", {}) | TYPE_META
            schema["x-kubernetes-group-version-kind"] = [
                {"group": group, "version": version, "kind": kind} for group, version in served
            ]
        self.found[f"{_META_PREFIX}Patch"] = {
            "type": "object",
            "description": "A patch, in one of the formats that Content-Type names.",
        }

    def patch_reference(self) -> dict[str, Any]:
        return {"$ref": f"{self._prefix}{_META_PREFIX}Patch"}

    def list_reference(self, resource: Resource[Message]) -> dict[str, Any]:
        return {"$ref": f"{self._prefix}{schema_name(resource.message)}List"}

    def _list_schema(self, resource: Resource[Message]) -> dict[str, Any]:
        items = {"type": "array", "items": self._value_of(self.reference(resource.message))}
        return {
            "type": "object",
            "description": f"{resource.list_kind} is a list of {resource.name}.",
            "required": ["items"],
            "properties": TYPE_META
            | {"items": items, "metadata": self._value_of(self.reference(meta_v1_pb2.ListMeta))},
            "x-kubernetes-group-version-kind": [
                {
                    "group": resource.group,
                    "version": resource.version,
                    "kind": resource.list_kind,
                }
            ],
        }

    def _schema(self, message: type[Message]) -> dict[str, Any]:
        special = special_kind(message.DESCRIPTOR)  # type: ignore[arg-type]
        if special == "items":
            return dict(_STRING_ARRAY)
        if special != "message":
            forms = _SPECIAL_V2 if self.version == 2 else _SPECIAL_V3
            return dict(forms[special])
        properties: dict[str, Any] = dict(TYPE_META) if has_type_meta(message) else {}
        required: list[str] = []
        self._add_fields(message, properties, required)
        for key, value in properties.items():
            value |= _merge_facts(message, key, value)
        schema: dict[str, Any] = {"type": "object"}
        if message.DESCRIPTOR.full_name in list_types.ATOMIC_MESSAGES:
            schema["x-kubernetes-map-type"] = "atomic"
        if required:
            schema["required"] = sorted(required)
        if properties:
            schema["properties"] = dict(sorted(properties.items()))
        return schema

    def _add_fields(
        self, message: type[Message], properties: dict[str, Any], required: list[str]
    ) -> None:
        for entry in go_fields(message):
            if entry.inline and entry.message is not None:
                self._add_fields(entry.message, properties, required)
                continue
            properties[entry.json_name] = self._property(entry)
            if entry.required and not entry.pointer:
                required.append(entry.json_name)

    def _property(self, entry: GoField) -> dict[str, Any]:
        if entry.map:
            schema: dict[str, Any] = {
                "type": "object",
                "additionalProperties": self._value(entry),
            }
        elif entry.repeated:
            schema = {"type": "array", "items": self._value(entry)}
        else:
            schema = self._value(entry, with_default=entry.required and not entry.pointer)
        if entry.patch_strategies:
            schema["x-kubernetes-patch-strategy"] = ",".join(sorted(entry.patch_strategies))
        if entry.patch_merge_key:
            schema["x-kubernetes-patch-merge-key"] = entry.patch_merge_key
        return schema

    def _value(self, entry: GoField, *, with_default: bool = True) -> dict[str, Any]:
        if entry.message is not None:
            reference = self.reference(entry.message)
            return self._value_of(reference) if not entry.pointer else dict(reference)
        schema = dict(_SCALARS[entry.kind])
        if with_default and self.version == 3 and entry.kind in _ZERO:
            schema["default"] = _ZERO[entry.kind]
        return schema

    def _value_of(self, reference: dict[str, Any]) -> dict[str, Any]:
        """A struct by value is never absent: v3 says so with a default."""
        if self.version == 2:
            return dict(reference)
        return {"allOf": [dict(reference)], "default": {}}


def _merge_facts(message: type[Message], key: str, schema: dict[str, Any]) -> dict[str, Any]:
    """How server-side apply merges a field, where it is a list or a map that is no rule's."""
    place = (message.DESCRIPTOR.full_name, key)
    if schema.get("type") == "array":
        if keys := list_types.MERGED_LISTS.get(place):
            return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}
        return {"x-kubernetes-list-type": "set" if place in list_types.SETS else "atomic"}
    return {"x-kubernetes-map-type": "atomic"} if place in list_types.ATOMIC_FIELDS else {}
