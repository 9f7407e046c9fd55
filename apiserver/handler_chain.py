"""The stages that every request passes, in order; both doors enter here.

    create, one line each:  received -> in flight -> authorized -> within its time -> verbs.create

What a verb then does is in `verbs/`. Authentication comes before: it is the door's.

Source: k8s.io/apiserver pkg/server/config.go (DefaultBuildHandlerChain).
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from google.protobuf.message import Message

from apiserver.authorization.interface import for_target
from apiserver.authorization.messages import forbidden
from apiserver.verbs import batch
from apiserver.verbs.bind import bind, target_of
from apiserver.verbs.context import Context
from apiserver.verbs.create import create
from apiserver.verbs.creation import Creation
from apiserver.verbs.delete import delete, delete_collection
from apiserver.verbs.get import connect, get
from apiserver.verbs.interface import (
    DEFAULT_WRITE,
    BatchItem,
    ListOptions,
    ListResult,
    Selectors,
    Target,
    UserInfo,
    Version,
    WatchEvent,
    WatchOptions,
    WriteOptions,
)
from apiserver.verbs.list import list_objects
from apiserver.verbs.patch import patch as patch_object
from apiserver.verbs.post import is_post, post
from apiserver.verbs.update import update
from apiserver.verbs.watch import watch
from podpath.api import errors
from podpath.api.errors import ApiError
from protos.k8s.core_v1_pb2 import Binding
from protos.k8s.meta_v1_pb2 import DeleteOptions, Status

REQUEST_TIMEOUT_S = 60.0
_NO_SELECTORS = Selectors()


class HandlerChain:
    """Implements `apiserver.verbs.interface.Verbs`.

    Args:
        reads_max, writes_max: requests at one time (`--max-requests-inflight`,
            `--max-mutating-requests-inflight`); watches do not count. 0: no limit.
    """

    def __init__(self, context: Context, *, reads_max: int = 400, writes_max: int = 200) -> None:
        self._context = context
        self._reads = _InFlight(reads_max)
        self._writes = _InFlight(writes_max)

    async def get(self, user: UserInfo, target: Target, resource_version: str = "") -> Version:
        with self._reads.slot():
            self._authorize(user, "get", target)
            async with _time_limit():
                return await get(self._context, target, resource_version)

    async def list(self, user: UserInfo, target: Target, options: ListOptions) -> ListResult:
        with self._reads.slot():
            self._authorize(user, "list", target, selectors=options.selectors)
            async with _time_limit():
                return await list_objects(self._context, target, options)

    async def watch(
        self, user: UserInfo, target: Target, options: WatchOptions
    ) -> AsyncIterator[Sequence[WatchEvent]]:
        self._authorize(user, "watch", target, selectors=options.selectors)
        async for events in watch(self._context, target, options):
            yield events

    async def create(
        self, user: UserInfo, target: Target, obj: Message, options: WriteOptions = DEFAULT_WRITE
    ) -> Version:
        creation = self._context.begin(user, target, options)
        with self._writes.slot():
            self._authorize(user, "create", target)
            creation.authorized(user)
            async with _time_limit():
                version = await self._create(user, target, obj, options, creation)
        creation.responded(version)
        return version

    async def create_batch(
        self, user: UserInfo, items: Sequence[BatchItem]
    ) -> Sequence[Version | ApiError]:
        batch.check_size(len(items))
        creations = [self._context.begin(user, item.target, item.options) for item in items]
        with self._writes.slot():
            allowed = self._authorize_each(user, "create", [item.target for item in items])
            for creation, error in zip(creations, allowed, strict=True):
                if error is None:
                    creation.authorized(user)
            async with _time_limit():
                results = await batch.run_all(
                    self._create(user, i.target, i.object, i.options, creation)
                    if error is None
                    else _refused(error)
                    for i, creation, error in zip(items, creations, allowed, strict=True)
                )
        for creation, result in zip(creations, results, strict=True):
            if not isinstance(result, ApiError):
                creation.responded(result)
        return results

    async def update(
        self, user: UserInfo, target: Target, obj: Message, options: WriteOptions = DEFAULT_WRITE
    ) -> Version:
        with self._writes.slot():
            self._authorize(user, "update", target)
            async with _time_limit():
                return await update(self._context, user, target, obj, options)

    async def update_batch(
        self, user: UserInfo, items: Sequence[BatchItem]
    ) -> Sequence[Version | ApiError]:
        batch.check_size(len(items))
        with self._writes.slot():
            allowed = self._authorize_each(user, "update", [item.target for item in items])
            async with _time_limit():
                return await batch.run_all(
                    update(self._context, user, i.target, i.object, i.options)
                    if error is None
                    else _refused(error)
                    for i, error in zip(items, allowed, strict=True)
                )

    async def patch(
        self,
        user: UserInfo,
        target: Target,
        patch_type: str,
        patch: Any,
        options: WriteOptions = DEFAULT_WRITE,
    ) -> Version:
        with self._writes.slot():
            self._authorize(user, "patch", target)
            async with _time_limit():
                return await patch_object(self._context, user, target, patch_type, patch, options)

    async def delete(
        self, user: UserInfo, target: Target, delete_options: DeleteOptions, dry_run: bool = False
    ) -> Version | Status:
        with self._writes.slot():
            self._authorize(user, "delete", target)
            async with _time_limit():
                return await delete(self._context, user, target, delete_options, dry_run)

    async def delete_collection(
        self,
        user: UserInfo,
        target: Target,
        delete_options: DeleteOptions,
        selectors: Selectors,
        dry_run: bool = False,
    ) -> ListResult:
        with self._writes.slot():
            self._authorize(user, "deletecollection", target, selectors=selectors)
            async with _time_limit():
                return await delete_collection(
                    self._context, user, target, delete_options, selectors, dry_run
                )

    async def bind(
        self, user: UserInfo, binding: Binding, options: WriteOptions = DEFAULT_WRITE
    ) -> None:
        with self._writes.slot():
            self._authorize(user, "create", target_of(binding))
            async with _time_limit():
                await bind(self._context, user, binding, options)

    async def bind_batch(
        self, user: UserInfo, items: Sequence[tuple[Binding, WriteOptions]]
    ) -> Sequence[ApiError | None]:
        batch.check_size(len(items))
        with self._writes.slot():
            targets = [target_of(binding) for binding, _ in items]
            allowed = self._authorize_each(user, "create", targets)
            async with _time_limit():
                return await batch.run_all(
                    bind(self._context, user, binding, options)
                    if error is None
                    else _refused(error)
                    for (binding, options), error in zip(items, allowed, strict=True)
                )

    async def connect(self, user: UserInfo, target: Target, verb: str) -> Version:
        self._authorize(user, verb, target)
        return await connect(self._context, user, target, verb)

    async def _create(
        self,
        user: UserInfo,
        target: Target,
        obj: Message,
        options: WriteOptions,
        creation: Creation,
    ) -> Version:
        if is_post(target):
            return await post(self._context, user, target, obj, options)
        return await create(self._context, user, target, obj, options, creation)

    def _authorize(
        self, user: UserInfo, verb: str, target: Target, selectors: Selectors = _NO_SELECTORS
    ) -> None:
        """Raises: Forbidden."""
        attributes = for_target(user, verb, target, selectors)
        decision = self._context.authorizer.authorize(attributes)
        if not decision.allowed:
            raise forbidden(attributes, decision.reason)

    def _authorize_each(
        self, user: UserInfo, verb: str, targets: Sequence[Target]
    ) -> Sequence[ApiError | None]:
        """The refusal of each, if any; asked once for items that are alike."""
        asked: dict[tuple[Any, ...], ApiError | None] = {}
        refusals = []
        for target in targets:
            # Each named object is a question of its own; new ones differ by namespace only.
            key = (target.resource, target.namespace, target.name, target.subresource)
            if key not in asked:
                asked[key] = self._refusal(user, verb, target)
            refusals.append(asked[key])
        return refusals

    def _refusal(self, user: UserInfo, verb: str, target: Target) -> ApiError | None:
        try:
            self._authorize(user, verb, target)
        except ApiError as error:
            return error
        return None


class _InFlight:
    """How many requests may run at one time."""

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._count = 0

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Raises: TooManyRequests."""
        if self._maximum and self._count >= self._maximum:
            raise errors.too_many_requests("Too many requests, please try again later.", 1)
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1


class _time_limit:  # reads as a statement: async with _time_limit()
    """Ends a request after `REQUEST_TIMEOUT_S` with Kubernetes' Timeout."""

    __slots__ = ("_timeout",)

    async def __aenter__(self) -> None:
        self._timeout = asyncio.timeout(REQUEST_TIMEOUT_S)
        await self._timeout.__aenter__()

    async def __aexit__(self, kind: Any, error: Any, traceback: Any) -> None:
        try:
            await self._timeout.__aexit__(kind, error, traceback)
        except TimeoutError:
            text = "request did not complete within the allotted timeout"
            raise errors.timeout(text) from None


async def _refused(error: ApiError) -> Any:
    raise ApiError(error.status)
