"""How plugins say no.

Source: k8s.io/apiserver pkg/admission/errors.go.
"""

from collections.abc import Sequence
from typing import Any

from apiserver.admission.interface import Attributes
from podpath.api import errors
from podpath.api.errors import ApiError


def object_name(attributes: Attributes) -> str:
    """The object's name as far as it is known: generated ones are not yet."""
    if attributes.target.name:
        return attributes.target.name
    obj: Any = attributes.object
    if obj is None or not hasattr(obj, "metadata"):
        return "Unknown"
    return str(obj.metadata.name or obj.metadata.generateName or "Unknown")


def forbidden(attributes: Attributes, cause: str) -> ApiError:
    """403 `pods "x" is forbidden: CAUSE`."""
    resource = attributes.target.resource
    return errors.forbidden(resource.group, resource.name, object_name(attributes), cause)


def together(causes: Sequence[str]) -> str:
    """Several causes as one text: `a`, or `[a, b]`."""
    unique = list(dict.fromkeys(causes))
    return unique[0] if len(unique) == 1 else f"[{', '.join(unique)}]"
