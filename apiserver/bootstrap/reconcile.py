"""Creates the bootstrap objects that are missing, through the verbs that everybody uses.

Idempotent: what exists stays as it is (an administrator may have changed it), except that the
published client authority follows its file. A restart costs one list for each kind.
"""

import logging
from collections.abc import Mapping
from typing import Any

from google.protobuf.message import Message

from apiserver.bootstrap.objects import Wanted, bootstrap_objects
from apiserver.verbs.interface import BatchItem, ListOptions, Target, UserInfo, Verbs
from podpath.api import scheme
from podpath.api.errors import ApiError
from protos.k8s.core_v1_pb2 import ConfigMap

logger = logging.getLogger(__name__)

Key = tuple[str, str]  # namespace, name


async def reconcile_bootstrap(
    verbs: Verbs, user: UserInfo, client_ca_pem: str = "", today: str = ""
) -> int:
    """Returns how many objects were created. Call once the caches have synced, before serving.

    `user` needs all rights: `apiserver.authentication.users.LOOPBACK`.
    Raises: ApiError when an object cannot be created; calling again is safe.
    """
    created = 0
    for wanted in bootstrap_objects(client_ca_pem, today):
        existing = await _existing(verbs, user, wanted)
        created += await _create_missing(verbs, user, wanted, existing)
        if wanted.follow:
            await _follow(verbs, user, wanted, existing)
    if created:
        logger.info("bootstrap objects created", extra={"count": created})
    return created


async def _existing(verbs: Verbs, user: UserInfo, wanted: Wanted) -> Mapping[Key, Message]:
    resource = wanted.resource
    if resource is scheme.CONFIGMAPS:  # there may be many: look at the one namespace
        result = await verbs.list(user, Target(resource, "kube-system"), ListOptions())
    else:
        result = await verbs.list(user, Target(resource), ListOptions())
    return {_key(version.object): version.object for version in result.items}


def _key(obj: Any) -> Key:
    return obj.metadata.namespace, obj.metadata.name


async def _create_missing(
    verbs: Verbs, user: UserInfo, wanted: Wanted, existing: Mapping[Key, Message]
) -> int:
    missing = [obj for obj in wanted.objects if _key(obj) not in existing]
    if not missing:
        return 0
    items = [BatchItem(Target(wanted.resource, _key(obj)[0]), obj) for obj in missing]
    created = 0
    for result in await verbs.create_batch(user, items):
        if not isinstance(result, ApiError):
            created += 1
        elif result.reason != "AlreadyExists":  # another API server may have been first
            raise result
    return created


async def _follow(
    verbs: Verbs, user: UserInfo, wanted: Wanted, existing: Mapping[Key, Message]
) -> None:
    """Writes the client authority again when its file has changed."""
    for obj in wanted.objects:
        found = existing.get(_key(obj))
        if not isinstance(found, ConfigMap) or not isinstance(obj, ConfigMap):
            continue
        if all(found.data.get(key) == value for key, value in obj.data.items()):
            continue
        updated = ConfigMap()
        updated.CopyFrom(found)
        updated.data.update(obj.data)
        target = Target(wanted.resource, updated.metadata.namespace, updated.metadata.name)
        await verbs.update(user, target, updated)
