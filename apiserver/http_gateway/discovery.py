"""What the server serves: /api, /apis and below, in the aggregated and in the older form.

Built once from the scheme and kept as bytes.

Source: k8s.io/apiserver pkg/endpoints/discovery.
"""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from google.protobuf.message import Message

from apiserver.http_gateway.negotiation import clauses
from apiserver.http_gateway.reply import Reply
from apiserver.http_gateway.subresource_facts import Subresource, facts
from podpath.api.scheme import Resource

_AGGREGATED_KIND = "APIGroupDiscoveryList"
_AGGREGATED_GROUP = "apidiscovery.k8s.io"
_AGGREGATED_VERSIONS = ("v2", "v2beta1")
# Groups of several versions: the first is preferred.
_PREFERRED = {"autoscaling": "v2"}
# What upstream stores in another group or version than it is asked for.
_STORED_AS = {
    ("autoscaling", "horizontalpodautoscalers"): ("autoscaling", "v2"),
    ("events.k8s.io", "events"): ("", "v1"),
    ("networking.k8s.io", "ipaddresses"): ("networking.k8s.io", "v1beta1"),
    ("networking.k8s.io", "servicecidrs"): ("networking.k8s.io", "v1beta1"),
}

Resources = Sequence[Resource[Message]]
Tree = dict[str, Any]


def storage_version_hash(resource: Resource[Message]) -> str:
    """Lets clients see that two names are stored as one kind: a short hash of group/version/kind.

    Source: k8s.io/apiserver pkg/endpoints/discovery/storageversionhash.go.
    """
    group, version = _STORED_AS.get(
        (resource.group, resource.name), (resource.group, resource.version)
    )
    text = f"{group}/{version}/{resource.kind}"
    return base64.b64encode(hashlib.sha256(text.encode()).digest()[:8]).decode()


@dataclass(frozen=True, slots=True)
class Document:
    """A prepared response."""

    body: bytes
    content_type: str
    etag: str

    def reply(self, if_none_match: str = "") -> Reply:
        headers = [("ETag", self.etag), ("Vary", "Accept")]
        if if_none_match and self.etag in if_none_match:
            return Reply(304, headers=headers)
        reply = Reply(200, self.body, self.content_type, headers)
        reply.add_header("Cache-Control", "public")
        return reply


def document(tree: Tree, content_type: str = "application/json") -> Document:
    body = orjson.dumps(tree)
    etag = f'"{hashlib.sha512(body).hexdigest().upper()}"'
    return Document(body + b"\n", content_type, etag)


class Discovery:
    """All discovery documents of one set of resources."""

    def __init__(self, resources: Iterable[Resource[Message]], server_address: str) -> None:
        """`server_address` is `HOST:PORT`, told to clients of the legacy /api."""
        groups = _by_group(resources)
        core = {"": groups.pop("", {})}
        self._plain = {
            "/api": document(_api_versions(server_address)),
            "/apis": document({"kind": "APIGroupList", "apiVersion": "v1"} | _groups(groups)),
        }
        for group, versions in (core | groups).items():
            if group:
                head = {"kind": "APIGroup", "apiVersion": "v1"}
                self._plain[f"/apis/{group}"] = document(head | _group(group, versions))
            for version, served in versions.items():
                path = f"/apis/{group}/{version}" if group else f"/api/{version}"
                self._plain[path] = document(_resource_list(group, version, served))
        self._aggregated = {
            (path, version): document(
                _aggregated(listed, version),
                f"application/json;g={_AGGREGATED_GROUP};v={version};as={_AGGREGATED_KIND}",
            )
            for path, listed in (("/api", core), ("/apis", groups))
            for version in _AGGREGATED_VERSIONS
        }

    def find(self, path: str, accept: str) -> Document | None:
        """The document under a path, in the form that the client prefers."""
        path = path.rstrip("/") or path
        if path in ("/api", "/apis") and _AGGREGATED_KIND in accept:
            for clause in clauses(accept):
                if clause.get("as") == "" and clause.media_type in ("application/json", "*/*"):
                    break
                version = clause.get("v")
                if (
                    clause.media_type == "application/json"
                    and clause.get("g") == _AGGREGATED_GROUP
                    and clause.get("as") == _AGGREGATED_KIND
                    and version in _AGGREGATED_VERSIONS
                ):
                    return self._aggregated[path, version]
        return self._plain.get(path)

    @property
    def paths(self) -> list[str]:
        return sorted(self._plain)


def _by_group(resources: Iterable[Resource[Message]]) -> dict[str, dict[str, Resources]]:
    groups: dict[str, dict[str, list[Resource[Message]]]] = {}
    for resource in resources:
        versions = groups.setdefault(resource.group, {})
        versions.setdefault(resource.version, []).append(resource)
    ordered: dict[str, dict[str, Resources]] = {}
    for group, versions in groups.items():
        preferred = _PREFERRED.get(group, "")
        names = sorted(versions, key=lambda version, first=preferred: version != first)  # type: ignore[misc]
        ordered[group] = {
            version: sorted(versions[version], key=lambda resource: resource.name)
            for version in names
        }
    return ordered


def _api_versions(server_address: str) -> Tree:
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [
            {"clientCIDR": "0.0.0.0/0", "serverAddress": server_address}
        ],
    }


def _groups(groups: dict[str, dict[str, Resources]]) -> Tree:
    return {"groups": [_group(group, versions) for group, versions in groups.items()]}


def _group(group: str, versions: dict[str, Resources]) -> Tree:
    listed = [{"groupVersion": f"{group}/{name}", "version": name} for name in versions]
    return {"name": group, "versions": listed, "preferredVersion": listed[0]}


def _resource_list(group: str, version: str, resources: Resources) -> Tree:
    entries: list[Tree] = []
    for resource in resources:
        entries.append(_legacy_resource(resource))
        entries += (
            _legacy_subresource(resource, facts(resource, name)) for name in resource.subresources
        )
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{group}/{version}" if group else version,
        "resources": entries,
    }


def _legacy_resource(resource: Resource[Message]) -> Tree:
    entry: Tree = {
        "name": resource.name,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": sorted(resource.verbs),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    if "list" in resource.verbs and "create" in resource.verbs:
        entry["storageVersionHash"] = storage_version_hash(resource)
    return entry


def _legacy_subresource(resource: Resource[Message], sub: Subresource) -> Tree:
    entry: Tree = {
        "name": f"{resource.name}/{sub.name}",
        "singularName": "",
        "namespaced": resource.namespaced,
    }
    if sub.version:
        entry |= {"group": sub.group, "version": sub.version}
    return entry | {"kind": sub.kind, "verbs": list(sub.verbs)}


def _aggregated(groups: dict[str, dict[str, Resources]], version: str) -> Tree:
    return {
        "kind": _AGGREGATED_KIND,
        "apiVersion": f"{_AGGREGATED_GROUP}/{version}",
        "metadata": {},
        "items": [_aggregated_group(group, versions) for group, versions in groups.items()],
    }


def _aggregated_group(group: str, versions: dict[str, Resources]) -> Tree:
    return {
        "metadata": {"name": group, "creationTimestamp": None}
        if group
        else {"creationTimestamp": None},
        "versions": [
            {
                "version": version,
                "resources": [_aggregated_resource(resource) for resource in resources],
                "freshness": "Current",
            }
            for version, resources in versions.items()
        ],
    }


def _aggregated_resource(resource: Resource[Message]) -> Tree:
    entry: Tree = {
        "resource": resource.name,
        "responseKind": {
            "group": resource.group,
            "version": resource.version,
            "kind": resource.kind,
        },
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": sorted(resource.verbs),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    if resource.subresources:
        entry["subresources"] = [
            _aggregated_subresource(resource, facts(resource, name))
            for name in resource.subresources
        ]
    return entry


def _aggregated_subresource(resource: Resource[Message], sub: Subresource) -> Tree:
    return {
        "subresource": sub.name,
        "responseKind": {
            "group": sub.group if sub.version else resource.group,
            "version": sub.version or resource.version,
            "kind": sub.kind,
        },
        "verbs": list(sub.verbs),
    }
