"""metadata.managedFields of stored objects: kept from an object's first apply on.

An object that nobody applies has no managers, and its writes pay for one look at an empty list
(docs/adr/0006-managed-fields-from-the-first-apply.md).

Source: k8s.io/apimachinery pkg/util/managedfields/fieldmanager.go.
"""

from datetime import datetime
from typing import Any

from apiserver.verbs.interface import Target, WriteOptions
from podpath.api import json_codec
from podpath.api.apply import managers
from podpath.api.apply.managers import Manager, Managers
from podpath.api.scheme import Resource

_UNKNOWN = "unknown"


def track(
    resource: Resource[Any],
    target: Target,
    options: WriteOptions,
    new: Any,
    old: Any,
    now: datetime,
) -> None:
    """Writes into `new` who manages its fields after this update of `old`.

    A client may write managedFields itself, except through a subresource.
    """
    before = read(old) if target.subresource else read(new) or read(old)
    manager = Manager(
        options.field_manager or _UNKNOWN,
        managers.UPDATE,
        resource.api_version,
        target.subresource,
    )
    after = managers.update(
        resource, tree_of(old), tree_of(new), before, manager, now_s=int(now.timestamp())
    )
    write(new, after)


def reset(new: Any, target: Target) -> bool:
    """True, and none are left, if a client takes all managers away: by one entry that is empty."""
    given = new.metadata.managedFields
    if target.subresource or len(given) != 1:
        return False
    entry = given[0]
    if entry.manager or entry.operation or entry.fieldsV1.Raw:
        return False
    new.metadata.ClearField("managedFields")
    return True


def read(obj: Any) -> Managers:
    """An object's managers; none when they cannot be read."""
    try:
        return managers.decode(obj.metadata.managedFields)
    except ValueError:
        return {}


def write(obj: Any, after: Managers) -> None:
    obj.metadata.ClearField("managedFields")
    obj.metadata.managedFields.extend(managers.encode(after))


def tree_of(obj: Any) -> dict[str, Any]:
    """The object's JSON without its managed fields."""
    tree = json_codec.to_json(obj)
    tree["metadata"].pop("managedFields", None)
    return tree
