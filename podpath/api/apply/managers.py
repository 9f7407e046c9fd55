"""metadata.managedFields: who manages which fields, and how a write changes that. Pure.

An object is tracked from its first apply on (docs/adr: what nobody applies costs nothing); what it
held before then belongs to the manager `before-first-apply`.

Source: k8s.io/apimachinery pkg/util/managedfields, sigs.k8s.io/structured-merge-diff
merge/update.go.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from podpath.api import errors, json_codec
from podpath.api.apply import field_sets, trees
from podpath.api.apply.field_sets import FieldSet
from podpath.api.apply.shapes import UnkeyedElementError, struct
from podpath.api.go_text import quote
from podpath.api.scheme import Resource
from protos.k8s.meta_v1_pb2 import ManagedFieldsEntry, StatusCause, StatusDetails

APPLY = "Apply"
UPDATE = "Update"
BEFORE_FIRST_APPLY = "before-first-apply"
ANCIENT_CHANGES = "ancient-changes"
UPDATE_MANAGERS_MAX = 10
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_FIELDS_V1 = "FieldsV1"
# Nobody manages what the server alone decides.
_UNMANAGED_METADATA = (
    "name",
    "namespace",
    "creationTimestamp",
    "selfLink",
    "uid",
    "generation",
    "managedFields",
    "resourceVersion",
)


@dataclass(frozen=True, slots=True)
class Manager:
    """Who. An applier is one manager whatever version it applies."""

    name: str
    operation: str
    api_version: str = ""
    subresource: str = ""

    def __str__(self) -> str:
        """As conflicts name it."""
        text = quote(self.name)
        if self.subresource:
            text += f" with subresource {quote(self.subresource)}"
        return f"{text} using {self.api_version}" if self.operation == UPDATE else text


@dataclass(frozen=True, slots=True)
class Owned:
    """What a manager has. `time_s` is 0 where it is not known."""

    fields: FieldSet
    api_version: str
    time_s: int = 0


Managers = Mapping[Manager, Owned]


@dataclass(frozen=True, slots=True)
class Applied:
    """The object (its JSON tree, without managedFields) and its managers after an apply."""

    tree: dict[str, Any]
    managers: Managers


def decode(entries: Iterable[ManagedFieldsEntry]) -> dict[Manager, Owned]:
    """Raises: ValueError when an entry cannot be read."""
    found: dict[Manager, Owned] = {}
    for entry in entries:
        if entry.operation not in (APPLY, UPDATE) or entry.fieldsType != _FIELDS_V1:
            raise ValueError(f"cannot read the managed fields of {entry.manager}")
        version = "" if entry.operation == APPLY else entry.apiVersion
        manager = Manager(entry.manager, entry.operation, version, entry.subresource)
        fields = field_sets.decode(entry.fieldsV1.Raw)
        found[manager] = Owned(fields, entry.apiVersion, entry.time.seconds)
    return found


def encode(managers: Managers) -> list[ManagedFieldsEntry]:
    """Entries in upstream's order: appliers first, then by time and name."""
    ordered = sorted(
        managers.items(),
        key=lambda i: (i[0].operation, i[1].time_s, i[0].name, i[1].api_version, i[0].subresource),
    )
    return [_entry(manager, owned) for manager, owned in ordered]


def _entry(manager: Manager, owned: Owned) -> ManagedFieldsEntry:
    entry = ManagedFieldsEntry(
        manager=manager.name,
        operation=manager.operation,
        apiVersion=owned.api_version,
        fieldsType=_FIELDS_V1,
        subresource=manager.subresource,
    )
    entry.fieldsV1.Raw = field_sets.encode(owned.fields)
    if owned.time_s:
        entry.time.seconds = owned.time_s
        entry.time.nanos = 0
    return entry


def managed(tree: dict[str, Any], resource: Resource[Any], subresource: str) -> FieldSet:
    """The fields of a tree that a manager can have."""
    return _managed(trees.field_set(tree, struct(resource.message)), resource, subresource)


def _managed(fields: FieldSet, resource: Resource[Any], subresource: str) -> FieldSet:
    for path in ("f:apiVersion", "f:kind"):
        fields = field_sets.without(fields, path)
    for name in _UNMANAGED_METADATA:
        fields = field_sets.without(fields, "f:metadata", f"f:{name}")
    metadata = field_sets.difference(fields.get("f:metadata", {}), field_sets.leaf())
    fields = field_sets.without(fields, "f:metadata")
    if metadata:
        fields = fields | {"f:metadata": metadata}
    # The object's own path does not write its status; the status's writes nothing else.
    if subresource == "status":
        return field_sets.without(fields, "f:spec")
    if "status" in resource.subresources:
        return field_sets.without(fields, "f:status")
    return fields


def apply(
    resource: Resource[Any],
    live: dict[str, Any],
    config: dict[str, Any],
    managers: Managers,
    manager: Manager,
    *,
    force: bool,
    now_s: int,
) -> Applied:
    """Applies `config` to `live`, whose managers are given (none: it was never applied).

    Raises: ApiError (Conflict) when others manage, with other values, what the configuration sets;
    UnkeyedElementError.
    """
    shape = struct(resource.message)
    if not managers:
        before = Manager(BEFORE_FIRST_APPLY, UPDATE, resource.api_version)
        empty = json_codec.to_json(json_codec.new(resource.message))
        present = _managed(trees.compare(empty, live, shape)[0], resource, "")
        managers = {before: Owned(present, resource.api_version, now_s)} if present else {}
    last = managers.get(manager)
    wanted = Owned(managed(config, resource, manager.subresource), resource.api_version, now_s)
    after = {**managers, manager: wanted}
    merged = trees.merge(live, _kept(config, live), shape)
    if last is not None:
        merged = trees.prune(merged, shape, last.fields, _all(after))
    changed, removed = trees.compare(live, merged, shape)
    changed = _managed(changed, resource, manager.subresource)
    conflicts = _conflicts(after, manager, changed)
    if conflicts and not force:
        _refuse_unless_last_applied(resource, live, manager, conflicts)
    after = _without(after, manager, conflicts, removed)
    if last is not None and last.fields == wanted.fields and merged == live:
        after = {**after, manager: last}
    merged = _with_last_applied(merged, live, config, manager)
    return Applied(merged, {m: owned for m, owned in after.items() if owned.fields})


def _kept(config: dict[str, Any], live: dict[str, Any]) -> dict[str, Any]:
    """The configuration without what the server alone decides, where the object has it."""
    meta = config.get("metadata") or {}
    there = live.get("metadata") or {}
    kept = {k: v for k, v in meta.items() if k not in _UNMANAGED_METADATA or k not in there}
    return {**config, "metadata": kept}


def _all(managers: Managers) -> FieldSet:
    union: FieldSet = {}
    for owned in managers.values():
        union = field_sets.union(union, owned.fields)
    return union


def _conflicts(managers: Managers, writer: Manager, changed: FieldSet) -> dict[Manager, FieldSet]:
    found = {}
    for manager, owned in managers.items():
        if manager != writer and (both := field_sets.intersection(owned.fields, changed)):
            found[manager] = both
    return found


def _without(
    managers: Managers,
    writer: Manager,
    taken: Mapping[Manager, FieldSet],
    removed: FieldSet,
) -> dict[Manager, Owned]:
    """The managers once others have lost what was taken from them or is no longer there."""
    left = {}
    for manager, owned in managers.items():
        fields = owned.fields
        if manager != writer:
            fields = field_sets.difference(fields, removed)
            fields = field_sets.difference(fields, taken.get(manager, {}))
        left[manager] = owned if fields == owned.fields else replace(owned, fields=fields)
    return left


def update(
    resource: Resource[Any],
    old: dict[str, Any],
    new: dict[str, Any],
    managers: Managers,
    manager: Manager,
    *,
    now_s: int,
) -> Managers:
    """The managers after an update that was no apply: who writes a field has it."""
    changed, removed = trees.compare(old, new, struct(resource.message))
    changed = _managed(changed, resource, manager.subresource)
    after = _without(managers, manager, _conflicts(managers, manager, changed), removed)
    before = after.pop(manager, None)
    fields = field_sets.difference(before.fields, removed) if before is not None else {}
    if changed:
        after[manager] = Owned(field_sets.union(fields, changed), resource.api_version, now_s)
    elif before is not None:
        after[manager] = replace(before, fields=fields)
    return _capped({m: owned for m, owned in after.items() if owned.fields})


def _capped(managers: dict[Manager, Owned]) -> dict[Manager, Owned]:
    """Few enough updaters: the oldest ones become one."""
    updaters = [m for m in managers if m.operation == UPDATE]
    if len(updaters) <= UPDATE_MANAGERS_MAX:
        return managers
    updaters.sort(key=lambda m: (managers[m].time_s, m.name))
    for manager in updaters[: len(updaters) - UPDATE_MANAGERS_MAX + 1]:
        owned = managers.pop(manager)
        bucket = Manager(ANCIENT_CHANGES, UPDATE, owned.api_version)
        present = managers.get(bucket)
        fields = field_sets.union(present.fields, owned.fields) if present else owned.fields
        managers[bucket] = replace(owned, fields=fields)
    return managers


def _refuse_unless_last_applied(
    resource: Resource[Any],
    live: dict[str, Any],
    manager: Manager,
    conflicts: Mapping[Manager, FieldSet],
) -> None:
    """What kubectl has applied from the client's side is its own. Raises: ApiError (Conflict)."""
    allowed = _last_applied(resource, live) if manager.name == "kubectl" else {}
    left = {m: rest for m, c in conflicts.items() if (rest := field_sets.difference(c, allowed))}
    if left:
        raise conflict_error(left)


def _last_applied(resource: Resource[Any], live: dict[str, Any]) -> FieldSet:
    text = live.get("metadata", {}).get("annotations", {}).get(LAST_APPLIED)
    if not text:
        return {}
    try:
        tree = orjson.loads(text)
        trees.check(tree, struct(resource.message))
        return managed(tree, resource, "")
    except (ValueError, UnkeyedElementError, AttributeError):
        return {}


def _with_last_applied(
    tree: dict[str, Any], live: dict[str, Any], config: dict[str, Any], manager: Manager
) -> dict[str, Any]:
    """kubectl's own record of what it applied follows its server-side applies."""
    meta = tree.get("metadata", {})
    has_record = LAST_APPLIED in live.get("metadata", {}).get("annotations", {})
    if manager.name != "kubectl" or not has_record:
        return tree
    record = orjson.dumps(config, option=orjson.OPT_SORT_KEYS).decode() + "\n"
    annotations = {**meta.get("annotations", {}), LAST_APPLIED: record}
    return {**tree, "metadata": {**meta, "annotations": annotations}}


def conflict_error(conflicts: Mapping[Manager, FieldSet]) -> errors.ApiError:
    """409 with a cause for each field."""
    found = sorted(
        (
            (str(manager), path)
            for manager, fs in conflicts.items()
            for path in field_sets.paths(fs)
        ),
        key=lambda pair: pair[0],
    )
    details = StatusDetails()
    for name, path in found:
        message = f"conflict with {name}"
        cause = StatusCause(reason="FieldManagerConflict", message=message, field=path)
        details.causes.append(cause)
    return errors.new("Conflict", _conflict_text(found), details)


def _conflict_text(found: list[tuple[str, str]]) -> str:
    if len(found) == 1:
        name, path = found[0]
        return f"Apply failed with 1 conflict: conflict with {name}: {path}"
    lines = []
    for name in dict.fromkeys(name for name, _ in found):
        lines.append(f"conflicts with {name}:")
        lines += (f"- {path}" for other, path in found if other == name)
    return f"Apply failed with {len(found)} conflicts: " + "\n".join(lines)
