"""DELETE of one object and of a collection.

Source: k8s.io/apiserver pkg/endpoints/handlers/delete.go, pkg/registry/generic/registry/store.go.
"""

import asyncio
from typing import Any

from apiserver.admission.interface import Attributes
from apiserver.registry import deletion
from apiserver.verbs.context import Context
from apiserver.verbs.interface import (
    ListOptions,
    ListResult,
    Selectors,
    Target,
    UserInfo,
    Version,
)
from apiserver.verbs.list import list_objects
from podpath.api import errors
from podpath.api.errors import ApiError
from protos.k8s.meta_v1_pb2 import DeleteOptions, Status

COLLECTION_WORKERS = 16


async def delete(
    context: Context, user: UserInfo, target: Target, options: DeleteOptions, dry_run: bool
) -> Version | Status:
    """The object while it is still there, else a Status that says which one is gone."""
    version, gone = await _delete(context, user, target, options, dry_run)
    if not gone:
        return version
    if target.resource.name == "pods" and not target.resource.group:
        # Pods answer with their last state, as upstream's do.
        return version
    return _deleted(target, version.object)


async def delete_collection(
    context: Context,
    user: UserInfo,
    target: Target,
    options: DeleteOptions,
    selectors: Selectors,
    dry_run: bool,
) -> ListResult:
    """Deletes what the selectors find, a bounded number at a time; returns it."""
    found = await list_objects(context, target, ListOptions(selectors=selectors))
    limit = asyncio.Semaphore(COLLECTION_WORKERS)

    async def delete_one(version: Version) -> None:
        meta = version.object.metadata  # type: ignore[attr-defined]
        one = Target(target.resource, meta.namespace, meta.name)
        async with limit:
            try:
                await _delete(context, user, one, options, dry_run)
            except ApiError as error:
                if error.reason != "NotFound":
                    raise

    async with asyncio.TaskGroup() as tasks:
        for version in found.items:
            tasks.create_task(delete_one(version), name="delete-collection")
    return found


async def _delete(
    context: Context, user: UserInfo, target: Target, options: DeleteOptions, dry_run: bool
) -> tuple[Version, bool]:
    entry = context.registry.entry(target.resource)
    deletion.validate_options(options)
    if any(run != "All" for run in options.dryRun):
        wrong = errors.not_supported("dryRun", next(iter(options.dryRun)), ("All",))
        raise errors.invalid_object("meta.k8s.io", "DeleteOptions", "", [wrong])
    dry_run = dry_run or bool(options.dryRun)

    async def admit(old: Any) -> None:
        attributes = Attributes(user, target, "DELETE", None, old, dry_run)
        await context.admission.mutate(attributes)
        await context.admission.validate(attributes)

    version, gone = await entry.store.delete(
        target.namespace, target.name, options, entry.strategy, admit, dry_run=dry_run
    )
    return entry.view.show(version), gone


def _deleted(target: Target, obj: Any) -> Status:
    status = Status(status="Success")
    status.details.name = target.name
    status.details.kind = target.resource.name
    status.details.uid = obj.metadata.uid
    if target.resource.group:
        status.details.group = target.resource.group
    return status
