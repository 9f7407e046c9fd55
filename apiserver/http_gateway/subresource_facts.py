"""What discovery and OpenAPI tell of subresources: their kinds and verbs.

Source: the published API resource lists of Kubernetes 1.33.
"""

from dataclasses import dataclass

from google.protobuf.message import Message

from podpath.api.scheme import Resource


@dataclass(frozen=True, slots=True)
class Subresource:
    """`group` and `version` are empty where they are the owner's."""

    name: str
    kind: str
    verbs: tuple[str, ...]
    group: str = ""
    version: str = ""


_READ_WRITE = ("get", "patch", "update")
_CONNECT = ("create", "get")
_PROXY = ("create", "delete", "get", "patch", "update")
_OWN_KIND = {
    "status": _READ_WRITE,
    "ephemeralcontainers": _READ_WRITE,
    "resize": _READ_WRITE,
    "approval": _READ_WRITE,
    "finalize": ("update",),
    "log": ("get",),
}
_OTHER_KIND = {
    "attach": Subresource("attach", "PodAttachOptions", _CONNECT),
    "binding": Subresource("binding", "Binding", ("create",)),
    "eviction": Subresource("eviction", "Eviction", ("create",), "policy", "v1"),
    "exec": Subresource("exec", "PodExecOptions", _CONNECT),
    "portforward": Subresource("portforward", "PodPortForwardOptions", _CONNECT),
    "scale": Subresource("scale", "Scale", _READ_WRITE, "autoscaling", "v1"),
    "token": Subresource("token", "TokenRequest", ("create",), "authentication.k8s.io", "v1"),
}


def facts(resource: Resource[Message], name: str) -> Subresource:
    """Raises: KeyError for a subresource that this table does not know."""
    if name == "proxy":
        return Subresource(name, f"{resource.kind}ProxyOptions", _PROXY)
    if name in _OTHER_KIND:
        return _OTHER_KIND[name]
    return Subresource(name, resource.kind, _OWN_KIND[name])
