"""The paths of an OpenAPI document: which operations each resource has, with their parameters.

Source: the published OpenAPI documents of Kubernetes 1.33.
"""

from collections.abc import Iterable
from typing import Any

from google.protobuf.message import Message

from apiserver.http_gateway import negotiation
from apiserver.http_gateway.openapi_schemas import Schemas
from apiserver.http_gateway.subresource_facts import facts
from apiserver.registry.subresources import STREAMING, body_of
from podpath.api.scheme import Resource
from protos.k8s.meta_v1_pb2 import DeleteOptions, Status

Tree = dict[str, Any]

_STRING = {"type": "string"}
_BOOLEAN = {"type": "boolean"}
_INTEGER = {"type": "integer"}
_PARAMETERS: dict[str, tuple[dict[str, str], str]] = {
    "allowWatchBookmarks": (_BOOLEAN, "Whether a watch may send BOOKMARK events."),
    "continue": (_STRING, "The token of the page before, to get the next."),
    "dryRun": (_STRING, "`All`: the request is checked in full and nothing is stored."),
    "fieldManager": (_STRING, "Who or what makes the change."),
    "fieldSelector": (_STRING, "Restricts the list by fields."),
    "fieldValidation": (
        _STRING,
        "What happens with unknown and duplicate fields: Ignore, Warn or Strict.",
    ),
    "force": (_BOOLEAN, "For apply: take fields over from other managers."),
    "gracePeriodSeconds": (_INTEGER, "How long the object may take to end."),
    "labelSelector": (_STRING, "Restricts the list by labels."),
    "limit": (_INTEGER, "How many items a page has at most."),
    "orphanDependents": (_BOOLEAN, "Deprecated: use propagationPolicy."),
    "propagationPolicy": (_STRING, "Background, Foreground or Orphan."),
    "resourceVersion": (_STRING, "Which version of the collection is asked for."),
    "resourceVersionMatch": (_STRING, "How resourceVersion is meant for a list."),
    "sendInitialEvents": (_BOOLEAN, "Whether a watch begins with what exists."),
    "timeoutSeconds": (_INTEGER, "How long a list or watch may take."),
    "watch": (_BOOLEAN, "Watch the collection instead of listing it."),
}
_LIST = (
    "allowWatchBookmarks",
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeoutSeconds",
    "watch",
)
_WRITE = ("dryRun", "fieldManager", "fieldValidation")
_DELETE = ("dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy")
_METHODS = {
    "get": ("get", "read"),
    "list": ("get", "list"),
    "create": ("post", "create"),
    "update": ("put", "replace"),
    "patch": ("patch", "patch"),
    "delete": ("delete", "delete"),
    "deletecollection": ("delete", "deleteCollection"),
}
_QUERIES: dict[str, tuple[str, ...]] = {
    "get": (),
    "list": _LIST,
    "create": _WRITE,
    "update": _WRITE,
    "patch": (*_WRITE, "force"),
    "delete": _DELETE,
    "deletecollection": (*_LIST[:-1], *_DELETE),
}
_ACTIONS = {"create": "post", "update": "put"}  # the rest keep their names
_COLLECTION_VERBS = ("list", "create", "deletecollection")
_ITEM_VERBS = ("get", "update", "patch", "delete")


def paths_of(resources: Iterable[Resource[Message]], schemas: Schemas) -> dict[str, Tree]:
    """All paths of these resources; the schemas they use are added to `schemas`."""
    paths: dict[str, Tree] = {}
    for resource in resources:
        schemas.add_kind(resource)
        prefix = f"/apis/{resource.api_version}" if resource.group else f"/api/{resource.version}"
        where = "/namespaces/{namespace}" if resource.namespaced else ""
        collection = f"{prefix}{where}/{resource.name}"
        _add(paths, collection, resource, "", _COLLECTION_VERBS, schemas)
        _add(paths, f"{collection}/{{name}}", resource, "", _ITEM_VERBS, schemas)
        if where and "list" in resource.verbs:
            _add(paths, f"{prefix}/{resource.name}", resource, "", ("list",), schemas)
        for name in resource.subresources:
            if name not in STREAMING:
                path = f"{collection}/{{name}}/{name}"
                _add(paths, path, resource, name, facts(resource, name).verbs, schemas)
    return paths


def _add(
    paths: dict[str, Tree],
    path: str,
    resource: Resource[Message],
    subresource: str,
    verbs: Iterable[str],
    schemas: Schemas,
) -> None:
    served = facts(resource, subresource).verbs if subresource else resource.verbs
    item = {
        _METHODS[verb][0]: _operation(path, resource, subresource, verb, schemas)
        for verb in verbs
        if verb in served
    }
    if item:
        names = [name for name in ("name", "namespace") if f"{{{name}}}" in path]
        item["parameters"] = [_path_parameter(name, schemas.version) for name in names]  # type: ignore[assignment]
        paths[path] = item


def _operation(
    path: str, resource: Resource[Message], subresource: str, verb: str, schemas: Schemas
) -> Tree:
    body = body_of(resource, subresource)
    reference = schemas.reference(body.message)
    answer = reference
    if verb == "list":
        answer = schemas.list_reference(resource)
    elif verb in ("delete", "deletecollection"):
        answer = schemas.reference(Status)
    group = resource.group.split(".")[0].capitalize() or "Core"
    scope = "Namespaced" if "{namespace}" in path else ""
    tail = "ForAllNamespaces" if verb == "list" and resource.namespaced and not scope else ""
    operation: Tree = {
        "operationId": (
            f"{_METHODS[verb][1]}{group}{resource.version.capitalize()}{scope}"
            f"{resource.kind}{subresource.capitalize()}{tail}"
        ),
        "tags": [f"{group.lower()}_{resource.version}"],
        "parameters": [_query_parameter(name, schemas.version) for name in _QUERIES[verb]],
        "x-kubernetes-action": _ACTIONS.get(verb, verb),
        "x-kubernetes-group-version-kind": {
            "group": body.group,
            "version": body.version,
            "kind": body.kind,
        },
    }
    request = {
        "create": reference,
        "update": reference,
        "patch": schemas.patch_reference(),
        "delete": schemas.reference(DeleteOptions),
        "deletecollection": schemas.reference(DeleteOptions),
    }.get(verb)
    consumes = negotiation.PATCH_TYPES if verb == "patch" else ("*/*",)
    code = "201" if verb == "create" else "200"
    if schemas.version == 2:
        return operation | _v2_bodies(operation, request, answer, code, consumes)
    return operation | _v3_bodies(request, answer, code, consumes)


def _v3_bodies(request: Tree | None, answer: Tree, code: str, consumes: tuple[str, ...]) -> Tree:
    out: Tree = {
        "responses": {
            code: {
                "description": "OK",
                "content": {name: {"schema": answer} for name in negotiation.MEDIA_TYPES},
            },
            "401": {"description": "Unauthorized"},
        }
    }
    if request is not None:
        out["requestBody"] = {"content": {name: {"schema": request} for name in consumes}}
    return out


def _v2_bodies(
    operation: Tree, request: Tree | None, answer: Tree, code: str, consumes: tuple[str, ...]
) -> Tree:
    out: Tree = {
        "consumes": list(consumes),
        "produces": list(negotiation.MEDIA_TYPES),
        "schemes": ["https"],
        "responses": {
            code: {"description": "OK", "schema": answer},
            "401": {"description": "Unauthorized"},
        },
    }
    if request is not None:
        body = {"in": "body", "name": "body", "required": True, "schema": request}
        out["parameters"] = [body, *operation["parameters"]]
    return out


def _query_parameter(name: str, version: int) -> Tree:
    schema, description = _PARAMETERS[name]
    head = {"name": name, "in": "query", "description": description}
    unique: Tree = {"uniqueItems": True}
    return head | ((dict(schema) | unique) if version == 2 else {"schema": schema | unique})


def _path_parameter(name: str, version: int) -> Tree:
    texts = {"name": "The object's name.", "namespace": "The object's namespace."}
    head: Tree = {"name": name, "in": "path", "required": True, "description": texts[name]}
    return head | (_STRING if version == 2 else {"schema": _STRING})
