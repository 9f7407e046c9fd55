"""/openapi/v3, its document for each group and version, and /openapi/v2.

Documents are made when first asked for and kept as bytes. A document's hash names its content:
a client that asks with the hash may keep it for ever.

Source: k8s.io/kube-openapi pkg/handler3/handler.go, pkg/handler/handler.go.
"""

import gzip
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import orjson
from google.protobuf.message import Message

from apiserver.http_gateway import openapi_gnostic, request
from apiserver.http_gateway.context import Call
from apiserver.http_gateway.negotiation import clauses, wants_gzip
from apiserver.http_gateway.openapi_paths import paths_of
from apiserver.http_gateway.openapi_schemas import Schemas
from apiserver.http_gateway.reply import GZIP_THRESHOLD_BYTES, Reply
from apiserver.http_gateway.version_info import KUBERNETES_VERSION
from podpath.api.scheme import Resource

V2_PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
_V2_PROTOBUF_ASKED = (V2_PROTOBUF, "application/com.github.proto-openapi.spec.v2@v1.0+protobuf")
_JSON_ASKED = ("application/json", "*/*", "application/*")
_YEAR_S = 31536000
_INFO = {"title": "Kubernetes", "version": KUBERNETES_VERSION}

Resources = Sequence[Resource[Message]]


@dataclass(frozen=True, slots=True)
class _Spec:
    body: bytes
    compressed: bytes
    hash: str


def _spec(body: bytes) -> _Spec:
    digest = hashlib.sha512(body).hexdigest().upper()
    return _Spec(body, gzip.compress(body, 6, mtime=0), digest)


class OpenApi:
    """The documents of one set of resources."""

    def __init__(self, resources: Iterable[Resource[Message]]) -> None:
        self._groups: dict[str, list[Resource[Message]]] = {}
        for resource in resources:
            root = "apis" if resource.group else "api"
            self._groups.setdefault(f"{root}/{resource.api_version}", []).append(resource)
        self._v3: dict[str, _Spec] = {}
        self._v2: dict[str, _Spec] = {}

    @property
    def paths(self) -> list[str]:
        return ["/openapi/v2", "/openapi/v3", *(f"/openapi/v3/{name}" for name in self._groups)]

    def answer(self, call: Call, path: str) -> Reply | None:
        if path == "/openapi/v3":
            return _reply(call, self._root(), "application/json")
        if path == "/openapi/v2":
            return self._answer_v2(call)
        name = path.removeprefix("/openapi/v3/")
        if name not in self._groups:
            return None
        if not _takes(call.accept, _JSON_ASKED):
            return Reply(406)
        return self._answer_group(call, name)

    def _answer_group(self, call: Call, name: str) -> Reply:
        spec = self._group(name)
        asked = request.first(call.query, "hash")
        if asked and asked != spec.hash:
            return Reply(301, headers=[("Location", _url(name, spec.hash))])
        reply = _reply(call, spec, "application/json")
        if asked:
            reply.add_header("Cache-Control", f"public, immutable, max-age={_YEAR_S}")
        return reply

    def _answer_v2(self, call: Call) -> Reply:
        for clause in clauses(call.accept or "application/json"):
            if clause.media_type in _V2_PROTOBUF_ASKED:
                return _reply(call, self._v2_spec("protobuf"), V2_PROTOBUF)
            if clause.media_type in _JSON_ASKED:
                return _reply(call, self._v2_spec("json"), "application/json")
        return Reply(406)

    def _root(self) -> _Spec:
        if "" not in self._v3:
            paths = {
                name: {"serverRelativeURL": _url(name, self._group(name).hash)}
                for name in self._groups
            }
            self._v3[""] = _spec(orjson.dumps({"paths": paths}))
        return self._v3[""]

    def _group(self, name: str) -> _Spec:
        if name not in self._v3:
            self._v3[name] = _spec(orjson.dumps(v3_document(self._groups[name])))
        return self._v3[name]

    def _v2_spec(self, form: str) -> _Spec:
        if form not in self._v2:
            every = [resource for group in self._groups.values() for resource in group]
            document = v2_document(every)
            body = (
                openapi_gnostic.encode(document) if form == "protobuf" else orjson.dumps(document)
            )
            self._v2[form] = _spec(body)
        return self._v2[form]


def v3_document(resources: Resources) -> dict[str, Any]:
    """The document of one group and version."""
    schemas = Schemas(3)
    paths = paths_of(resources, schemas)
    schemas.add_common(dict.fromkeys((r.group, r.version) for r in resources))
    bearer = {"type": "apiKey", "name": "authorization", "in": "header"}
    return {
        "openapi": "3.0.0",
        "info": _INFO,
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.found.items())),
            "securitySchemes": {"BearerToken": bearer},
        },
    }


def v2_document(resources: Resources) -> dict[str, Any]:
    """The document of everything."""
    schemas = Schemas(2)
    paths = paths_of(resources, schemas)
    schemas.add_common(dict.fromkeys((r.group, r.version) for r in resources))
    return {
        "swagger": "2.0",
        "info": _INFO,
        "paths": paths,
        "definitions": dict(sorted(schemas.found.items())),
    }


def _url(name: str, digest: str) -> str:
    return f"/openapi/v3/{quote(name)}?hash={digest}"


def _takes(accept: str, media_types: tuple[str, ...]) -> bool:
    return not accept or any(clause.media_type in media_types for clause in clauses(accept))


def _reply(call: Call, spec: _Spec, content_type: str) -> Reply:
    etag = f'"{spec.hash}"'
    headers = [("ETag", etag), ("Vary", "Accept")]
    if etag in call.header("If-None-Match"):
        return Reply(304, headers=headers)
    zipped = wants_gzip(call.header("Accept-Encoding"))
    if zipped and len(spec.body) > GZIP_THRESHOLD_BYTES:
        headers.append(("Content-Encoding", "gzip"))
        return CompressedReply(200, spec.compressed, content_type, headers)
    return Reply(200, spec.body, content_type, headers)


class CompressedReply(Reply):
    """A body that was compressed once, when the document was made."""

    def compress(self) -> None:
        """Nothing to do."""
