"""Paths that are no resources: discovery, health, version, metrics, OpenAPI, OpenID.

Source: k8s.io/apiserver pkg/server/{routes,healthz}, pkg/server/genericapiserver.go.
"""

from collections.abc import Sequence
from importlib import metadata

from apiserver.http_gateway import request, request_metrics
from apiserver.http_gateway.context import Call, Check, Context
from apiserver.http_gateway.discovery import Discovery, document
from apiserver.http_gateway.openapi_documents import OpenApi
from apiserver.http_gateway.reply import Reply
from apiserver.http_gateway.version_info import version_info

TEXT = "text/plain; charset=utf-8"
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_PING = Check("ping", lambda: True)
_HEALTH_PATHS = ("/healthz", "/livez", "/readyz")

# kubectl asks whether a kind it does not know is a custom one. There are none yet: the list is
# empty, and discovery does not show it.
_CRD_PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_NO_CRDS = (
    b'{"kind":"CustomResourceDefinitionList","apiVersion":"apiextensions.k8s.io/v1",'
    b'"metadata":{"resourceVersion":"1"},"items":[]}\n'
)


class SystemPaths:
    """Prepared documents, and the few that are made when asked for."""

    def __init__(self, context: Context, server_address: str) -> None:
        self._discovery = Discovery(context.resources, server_address)
        self._openapi = OpenApi(context.resources)
        self._openid = context.openid
        self._checks = {
            "/healthz": (_PING,),
            "/livez": (_PING,),
            "/readyz": (_PING, *context.ready_checks),
        }
        self._version = document(version_info(metadata.version("podpath")))
        index = [*self._discovery.paths, *_HEALTH_PATHS, *self._openapi.paths]
        index += ["/metrics", "/version"]
        self._index = document({"paths": sorted(index)})

    async def answer(self, call: Call) -> Reply | None:
        """None when nothing is served under the path."""
        if call.method not in ("GET", "HEAD"):
            return None
        path = call.path.rstrip("/") or "/"
        if path == "/":
            return Reply(200, self._index.body)
        if path == "/version":
            return Reply(200, self._version.body)
        if path == "/metrics":
            return Reply(200, request_metrics.exposition(), _METRICS_TYPE)
        if path.startswith("/openapi/"):
            return self._openapi.answer(call, path)
        if path.startswith(_HEALTH_PATHS):
            return self._health(call, path)
        if path == _CRD_PATH:
            return Reply(200, _NO_CRDS)
        if path in ("/openid/v1/jwks", "/.well-known/openid-configuration"):
            return self._openid_document(path)
        found = self._discovery.find(path, call.accept)
        return found.reply(call.header("If-None-Match")) if found else None

    def _openid_document(self, path: str) -> Reply | None:
        if self._openid is None:
            return None
        if path.endswith("jwks"):
            return Reply(200, self._openid.jwks(), "application/jwk-set+json")
        return Reply(200, self._openid.configuration())

    def _health(self, call: Call, path: str) -> Reply | None:
        root, _, name = path[1:].partition("/")
        checks = self._checks.get(f"/{root}")
        if checks is None:
            return None
        if name:
            checks = tuple(check for check in checks if check.name == name)
            if not checks:
                return None
        excluded = set(call.query.get("exclude", ()))
        return health_reply(
            root,
            [check for check in checks if check.name not in excluded],
            verbose="verbose" in call.query and request.boolean(call.query, "verbose"),
        )


def health_reply(root: str, checks: Sequence[Check], *, verbose: bool) -> Reply:
    """`ok`, or a line for each check when one fails or the client wants to see them."""
    results = [(check.name, check.passes()) for check in checks]
    passed = all(passes for _, passes in results)
    if passed and not verbose:
        return Reply(200, b"ok", TEXT)
    lines = [
        f"[+]{name} ok" if passes else f"[-]{name} failed: reason withheld"
        for name, passes in results
    ]
    lines.append(f"{root} check {'passed' if passed else 'failed'}")
    text = "\n".join(lines) + "\n"
    return Reply(200 if passed else 500, text.encode(), TEXT)
