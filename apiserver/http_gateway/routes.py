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


@dataclass(frozen=True, slots=True)
class Parts:
    """A resource path taken apart, whether anything is served there or not."""

    group: str
    version: str
    namespace: str = ""
    resource: str = ""
    name: str = ""
    subresource: str = ""
    tail: str = ""
    watch: bool = False


def split(path: str) -> Parts:
    """`path` is raw: each part is unquoted here."""
    words = path.strip("/").split("/")
    if "%" in path:
        words = [unquote(word) for word in words]
    if words[0] == "api":
        group, version, words = "", words[1], words[2:]
    else:
        group, version, words = words[1], words[2], words[3:]
    watch = words[0] == "watch"
    if watch:
        words = words[1:]
    namespace = ""
    # `namespaces/NS/pods/...` is pods in NS; `namespaces/NS` and its status are the Namespace.
    if len(words) > 2 and words[0] == "namespaces" and words[2] not in _NAMESPACE_SUBRESOURCES:
        namespace, words = words[1], words[2:]
    head = [*words, "", "", ""][:3]
    return Parts(group, version, namespace, head[0], head[1], head[2], "/".join(words[3:]), watch)


def parse(path: str) -> ResourceRoute:
    """The resource a path names. Raises: NoSuchPathError."""
    parts = split(path)
    try:
        resource: scheme.Resource[Message] = scheme.by_resource(
            parts.group, parts.version, parts.resource
        )
    except scheme.UnknownKindError:
        raise NoSuchPathError(path) from None
    if not _fits(resource, parts, path):
        raise NoSuchPathError(path)
    target = Target(resource, parts.namespace, parts.name, parts.subresource)
    return ResourceRoute(target, parts.watch, parts.tail)


def _fits(resource: scheme.Resource[Message], parts: Parts, path: str) -> bool:
    """True if the resource has such paths."""
    if "//" in path or (parts.namespace and not resource.namespaced):
        return False
    if parts.name and resource.namespaced and not parts.namespace:
        return False
    if parts.subresource and parts.subresource not in resource.subresources:
        return False
    return not parts.tail or parts.subresource == "proxy"
