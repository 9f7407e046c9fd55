"""Verbs over HTTP: each method and path shape of a resource becomes one call of `Verbs`.

Source: k8s.io/apiserver pkg/endpoints/installer.go, pkg/endpoints/handlers.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from aiohttp import web

from apiserver.http_gateway import (
    negotiation,
    partial_metadata,
    request,
    table_printer,
    watch_stream,
)
from apiserver.http_gateway.bodies import read_body
from apiserver.http_gateway.context import Call, Context
from apiserver.http_gateway.decode import decode, decode_delete_options, decode_patch
from apiserver.http_gateway.negotiation import PARTIAL, PARTIAL_LIST, TABLE, Output
from apiserver.http_gateway.reply import Reply
from apiserver.http_gateway.responses import list_bytes, object_reply, status_reply, tree_bytes
from apiserver.http_gateway.routes import ResourceRoute
from apiserver.http_gateway.subresource_facts import facts
from apiserver.registry.subresources import body_of
from apiserver.verbs.interface import Created, ListResult, Target, Version
from apiserver.verbs.post import is_post
from podpath.api import errors
from podpath.api.errors import ApiError
from protos.k8s.meta_v1_pb2 import Status

WATCH_TIMEOUT_MIN_S = 1800.0
"""A watch without timeoutSeconds lives between this long and twice this long."""

METHOD_NOT_ALLOWED = "the server does not allow this method on the requested resource"
_BINDING_KINDS = frozenset({("bindings", ""), ("pods", "binding")})

Handler = Callable[[Context, Call, ResourceRoute], Awaitable[web.StreamResponse]]


async def handle(context: Context, call: Call, route: ResourceRoute) -> web.StreamResponse:
    """Raises: ApiError."""
    verb = verb_of(call, route)
    if not _serves(route.target, verb):
        raise method_not_allowed()
    return await _HANDLERS[verb](context, call, route)


def method_not_allowed() -> ApiError:
    return errors.new("MethodNotAllowed", METHOD_NOT_ALLOWED)


def verb_of(call: Call, route: ResourceRoute) -> str:
    """Kubernetes' verb. Raises: ApiError MethodNotAllowed."""
    method = call.method
    collection = route.is_collection
    if method in ("GET", "HEAD"):
        if route.watch or (collection and request.is_watch(call.query)):
            return "watch"
        return "list" if collection else "get"
    if method == "POST" and (collection or route.target.subresource):
        return "create"
    if method == "DELETE":
        return "deletecollection" if collection else "delete"
    if not collection and method in ("PUT", "PATCH"):
        return "update" if method == "PUT" else "patch"
    raise method_not_allowed()


def _serves(target: Target, verb: str) -> bool:
    if target.subresource:
        return verb in facts(target.resource, target.subresource).verbs
    resource = target.resource
    if resource.namespaced and not target.namespace and verb not in ("get", "list", "watch"):
        return False
    return verb in resource.verbs


async def _get(context: Context, call: Call, route: ResourceRoute) -> web.StreamResponse:
    output = negotiation.output(call.accept)
    version = await context.verbs.get(
        call.user, route.target, request.first(call.query, "resourceVersion")
    )
    return _object_reply(context, call, 200, version, output)


async def _list(context: Context, call: Call, route: ResourceRoute) -> web.StreamResponse:
    output = negotiation.output(call.accept)
    include = _include_object(call) if output.convert == TABLE else ""
    options = request.list_options(call.query)
    result = await context.verbs.list(call.user, route.target, options)
    return _list_reply(context, route.target, result, output, include)


def _list_reply(
    context: Context, target: Target, result: ListResult, output: Output, include: str
) -> Reply:
    if output.convert == TABLE:
        table = table_printer.table_of_list(
            target.resource, result, include or "Metadata", context.clock.now()
        )
        body = tree_bytes(table, output.media_type)
    elif output.convert == PARTIAL_LIST:
        body = partial_metadata.list_bytes(result, output.media_type)
    elif output.convert == PARTIAL:
        raise errors.not_acceptable(
            "you requested PartialObjectMetadata, but the requested object is a list "
            f"({target.resource.list_kind})"
        )
    else:
        body = list_bytes(target.resource, result, output.media_type)
    return Reply(200, body, output.media_type)


def _object_reply(
    context: Context, call: Call, code: int, version: Version, output: Output
) -> Reply:
    if not output.convert:
        return object_reply(code, version, output.media_type)
    if output.convert == TABLE:
        table = table_printer.table_of_object(version, _include_object(call), context.clock.now())
        return Reply(code, tree_bytes(table, output.media_type), output.media_type)
    if output.convert == PARTIAL_LIST:
        raise errors.not_acceptable(
            "you requested PartialObjectMetadataList, but the requested object is not a list "
            f"({version.resource.kind})"
        )
    body = partial_metadata.object_bytes(version, output.media_type)
    return Reply(code, body, output.media_type)


def _include_object(call: Call) -> str:
    """What a Table's rows hold. Raises: ApiError BadRequest."""
    include = request.first(call.query, "includeObject") or "Metadata"
    if include not in ("None", "Metadata", "Object"):
        raise errors.bad_request(f'unrecognized includeObject value: "{include}"')
    return include


async def _watch(context: Context, call: Call, route: ResourceRoute) -> web.StreamResponse:
    output = negotiation.stream_output(call.accept)
    target = route.target
    lifetime_s = context.random.uniform(WATCH_TIMEOUT_MIN_S, 2 * WATCH_TIMEOUT_MIN_S)
    options = request.watch_options(call.query, lifetime_s, target.name)
    include = _include_object(call) if output.convert == TABLE else ""

    def table_of(version: Version, with_columns: bool) -> dict[str, Any]:
        table = table_printer.table_of_object(version, include, context.clock.now())
        if not with_columns:
            table["columnDefinitions"] = None
        return table

    events = context.verbs.watch(call.user, replace(target, name=""), options)
    if options.send_initial_events and output.convert != TABLE:
        empty = ListResult((), "")
        blueprint = (
            partial_metadata.list_bytes(empty, output.media_type)
            if output.convert
            else list_bytes(target.resource, empty, output.media_type)
        )
        events = watch_stream.with_list_blueprint(events, blueprint)
    framer = watch_stream.framer_for(output, table_of)
    headers = [("Audit-Id", call.audit_id), ("Cache-Control", "no-cache, private")]
    return await watch_stream.serve(call.request, events, framer, options.timeout_s, headers)


async def _create(context: Context, call: Call, route: ResourceRoute) -> web.StreamResponse:
    target = route.target
    # What is answered and not stored has no form but its own.
    output = negotiation.output(call.accept, converts=not is_post(target))
    body = await read_body(call.request)
    write = request.write_options(
        call.query, "CreateOptions", call.header("User-Agent"), call.header("traceparent")
    )
    expected = body_of(target.resource, target.subresource)
    decoded = decode(expected, body, call.header("Content-Type"), write.field_validation)
    call.warnings.extend(decoded.warnings)
    if (target.resource.name, target.subresource) in _BINDING_KINDS and not target.resource.group:
        return await _bind(context, call, target, decoded.message, write, output)
    version = await context.verbs.create(call.user, target, decoded.message, write.options)
    return _object_reply(context, call, 201, version, output)


async def _bind(
    context: Context,
    call: Call,
    target: Target,
    binding: Any,
    write: request.Write,
    output: Output,
) -> Reply:
    """The Binding's name and namespace are the Pod's: what the URL says fills or must match."""
    metadata = binding.metadata
    for field, value in (("name", target.name), ("namespace", target.namespace)):
        given = getattr(metadata, field)
        if value and given and given != value:
            raise errors.bad_request(f"{field} in URL does not match {field} in Binding object")
        if value:
            setattr(metadata, field, value)
    await context.verbs.bind(call.user, binding, write.options)
    return status_reply(Status(status="Success", code=201), output.media_type)


async def _update(context: Context, call: Call, route: ResourceRoute) -> web.StreamResponse:
    target = route.target
    output = negotiation.output(call.accept)
    body = await read_body(call.request)
    write = request.write_options(call.query, "UpdateOptions", call.header("User-Agent"))
    expected = body_of(target.resource, target.subresource)
    decoded = decode(expected, body, call.header("Content-Type"), write.field_validation)
    call.warnings.extend(decoded.warnings)
    _check_name(decoded.message.metadata, target)
    version = await context.verbs.update(call.user, target, decoded.message, write.options)
    return _object_reply(context, call, _code(version), version, output)


def _code(version: Version) -> int:
    return 201 if isinstance(version, Created) else 200


def _check_name(metadata: Any, target: Target) -> None:
    """Raises: ApiError BadRequest."""
    if metadata.name != target.name:
        raise errors.bad_request(
            f"the name of the object ({metadata.name}) does not match "
            f"the name on the URL ({target.name})"
        )
    if target.namespace and metadata.namespace and metadata.namespace != target.namespace:
        raise errors.bad_request(
            f"the namespace of the object ({metadata.namespace}) does not match "
            f"the namespace on the request ({target.namespace})"
        )


async def _patch(context: Context, call: Call, route: ResourceRoute) -> web.StreamResponse:
    target = route.target
    output = negotiation.output(call.accept)
    patch_type = negotiation.patch_type(call.header("Content-Type"))
    body = await read_body(call.request)
    write = request.patch_options(
        call.query, patch_type, call.header("User-Agent"), call.header("traceparent")
    )
    expected = body_of(target.resource, target.subresource)
    patch, warnings = decode_patch(expected, body, patch_type, write.field_validation)
    call.warnings.extend(warnings)
    version = await context.verbs.patch(call.user, target, patch_type, patch, write.options)
    return _object_reply(context, call, _code(version), version, output)


async def _delete(context: Context, call: Call, route: ResourceRoute) -> web.StreamResponse:
    output = negotiation.output(call.accept)
    body = await read_body(call.request)
    given = decode_delete_options(body, call.header("Content-Type"))
    options, dry_run = request.delete_options(call.query, given)
    result = await context.verbs.delete(call.user, route.target, options, dry_run)
    if isinstance(result, Status):
        return status_reply(result, output.media_type)
    waits = options.HasField("orphanDependents") and not options.orphanDependents
    return _object_reply(context, call, 202 if waits else 200, result, output)


async def _delete_collection(
    context: Context, call: Call, route: ResourceRoute
) -> web.StreamResponse:
    output = negotiation.output(call.accept)
    body = await read_body(call.request)
    given = decode_delete_options(body, call.header("Content-Type"))
    options, dry_run = request.delete_options(call.query, given)
    request.list_options({k: v for k, v in call.query.items() if k != "sendInitialEvents"})
    result = await context.verbs.delete_collection(
        call.user, route.target, options, request.selectors(call.query), dry_run
    )
    return _list_reply(context, route.target, result, output, "")


_HANDLERS: dict[str, Handler] = {
    "get": _get,
    "list": _list,
    "watch": _watch,
    "create": _create,
    "update": _update,
    "patch": _patch,
    "delete": _delete,
    "deletecollection": _delete_collection,
}
