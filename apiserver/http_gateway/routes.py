"""What a URL path means: a resource, with namespace, name and subresource, or something else.

Source: k8s.io/apiserver pkg/endpoints/request/requestinfo.go.
"""

from dataclasses import dataclass
from urllib.parse import unquote

from google.protobuf.message import Message

from apiserver.verbs.interface import Target
from podpath.api import scheme

# Subresources of namespaces; any other word after a namespace's name is a resource inside it.
_NAMESPACE_SUBRESOURCES = frozenset({"status", "finalize"})


class NoSuchPathError(LookupError):
    """No resource is served under this path: 404."""


@dataclass(frozen=True, slots=True)
class ResourceRoute:
    """A resource's path. `tail` is what follows a proxy subresource, without its first slash."""

    target: Target
    watch: bool = False
    tail: str = ""

    @property
    def is_collection(self) -> bool:
        return not self.target.name


def is_resource_path(path: str) -> bool:
    """True for /api/VERSION/... and /apis/GROUP/VERSION/..., but not for discovery's own paths."""
    parts = path.strip("/").split("/")
    return (parts[0] == "api" and len(parts) > 2) or (parts[0] == "apis" and len(parts) > 3)


def parse(path: str) -> ResourceRoute:
    """The resource a path names. `path` is raw: each part is unquoted here.

    Raises: NoSuchPathError.
    """
    parts = path.strip("/").split("/")
    if "%" in path:
        parts = [unquote(part) for part in parts]
    if parts[0] == "api":
        group, version, parts = "", parts[1], parts[2:]
    else:
        group, version, parts = parts[1], parts[2], parts[3:]
    watch = bool(parts) and parts[0] == "watch"
    if watch:
        parts = parts[1:]
    namespace, parts = _split_namespace(parts)
    if not parts or "" in parts[:3]:
        raise NoSuchPathError(path)
    return _route(path, group, version, namespace, parts, watch)


def _split_namespace(parts: list[str]) -> tuple[str, list[str]]:
    """`namespaces/NS/pods/...` is pods in NS; `namespaces/NS` and its status are the Namespace."""
    if len(parts) > 2 and parts[0] == "namespaces" and parts[2] not in _NAMESPACE_SUBRESOURCES:
        return parts[1], parts[2:]
    return "", parts


def _route(
    path: str, group: str, version: str, namespace: str, parts: list[str], watch: bool
) -> ResourceRoute:
    try:
        resource: scheme.Resource[Message] = scheme.by_resource(group, version, parts[0])
    except scheme.UnknownKindError:
        raise NoSuchPathError(path) from None
    name = parts[1] if len(parts) > 1 else ""
    subresource = parts[2] if len(parts) > 2 else ""
    tail = "/".join(parts[3:])
    if namespace and not resource.namespaced:
        raise NoSuchPathError(path)
    if name and resource.namespaced and not namespace:
        raise NoSuchPathError(path)
    if subresource and subresource not in resource.subresources:
        raise NoSuchPathError(path)
    if tail and subresource != "proxy":
        raise NoSuchPathError(path)
    return ResourceRoute(Target(resource, namespace, name, subresource), watch, tail)
