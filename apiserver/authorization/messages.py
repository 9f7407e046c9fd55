"""What a client is told when it may not.

Source: k8s.io/apiserver pkg/endpoints/handlers/responsewriters/errors.go.
"""

from apiserver.authorization.interface import Attributes
from podpath.api import errors
from podpath.api.errors import ApiError

_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def quote(text: str) -> str:
    """As Go's %q writes it, for the characters that names and users have."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def describe(attributes: Attributes) -> str:
    """`User "x" cannot list resource "pods" in API group "" in the namespace "y"`."""
    user, verb = quote(attributes.user.name), attributes.verb
    if attributes.path:
        return f"User {user} cannot {verb} path {quote(attributes.path)}"
    where = (
        f"in the namespace {quote(attributes.namespace)}"
        if attributes.namespace
        else "at the cluster scope"
    )
    resource, group = quote(attributes.resource_path), quote(attributes.group)
    return f"User {user} cannot {verb} resource {resource} in API group {group} {where}"


def forbidden(attributes: Attributes, reason: str = "") -> ApiError:
    """403 as upstream words it; `reason` is the authorizers' (may be empty)."""
    cause = describe(attributes).translate(_ESCAPES)
    if reason:
        cause = f"{cause}: {reason}"
    if attributes.path or not attributes.resource:
        return errors.new("Forbidden", f"forbidden: {cause}")
    return errors.forbidden(attributes.group, attributes.resource, attributes.name, cause)


def go_list(values: tuple[str, ...] | list[str]) -> str:
    """`["a" "b"]`: Go's %q of a list of strings."""
    return "[" + " ".join(quote(value) for value in values) + "]"
