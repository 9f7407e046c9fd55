"""Namespaces must exist before anything is made in them, and take nothing new while they end.

Source: k8s.io/apiserver pkg/admission/plugin/namespace/lifecycle/admission.go.
"""

from apiserver.admission.interface import Attributes
from apiserver.admission.rejection import forbidden
from apiserver.lister import Lister
from podpath.api import errors, scheme
from protos.k8s.core_v1_pb2 import Namespace
from protos.k8s.meta_v1_pb2 import StatusCause

PROTECTED = frozenset({"default", "kube-system", "kube-public"})


class NamespaceLifecycle:
    """Mutating plugin, as upstream, though it changes nothing: it must come first."""

    name = "NamespaceLifecycle"

    def __init__(self, lister: Lister) -> None:
        self._lister = lister

    def handles(self, attributes: Attributes) -> bool:
        target = attributes.target
        if target.resource is scheme.NAMESPACES:
            return attributes.operation == "DELETE"
        if not target.namespace or target.resource is scheme.LOCALSUBJECTACCESSREVIEWS:
            return False
        return attributes.operation in {"CREATE", "UPDATE"}

    async def admit(self, attributes: Attributes) -> None:
        target = attributes.target
        if target.resource is scheme.NAMESPACES:
            if target.name in PROTECTED:
                raise forbidden(attributes, "this namespace may not be deleted")
            return
        namespace = await self._find(target.namespace)
        if attributes.operation == "CREATE" and _is_ending(namespace):
            raise _terminating(attributes)

    async def _find(self, name: str) -> Namespace:
        found = self._lister.get(scheme.NAMESPACES, "", name)
        if found is None:  # the cache may not have it yet
            found = await self._lister.get_live(scheme.NAMESPACES, "", name)
        if found is None:
            raise errors.not_found("", "namespaces", name)
        return found


def _is_ending(namespace: Namespace) -> bool:
    return namespace.status.phase == "Terminating" or namespace.metadata.HasField(
        "deletionTimestamp"
    )


def _terminating(attributes: Attributes) -> errors.ApiError:
    name = attributes.target.namespace
    error = forbidden(
        attributes,
        f"unable to create new content in namespace {name} because it is being terminated",
    )
    error.status.details.causes.append(
        StatusCause(
            reason="NamespaceTerminating",
            message=f"namespace {name} is being terminated",
            field="metadata.namespace",
        )
    )
    return error
