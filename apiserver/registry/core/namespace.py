"""What is particular to Namespaces: they end when their content is gone.

Source: pkg/registry/core/namespace/{strategy.go,storage/storage.go}.
"""

from typing import Any

from apiserver.registry.strategy import GenericStrategy, StatusStrategy, keep
from protos.k8s.meta_v1_pb2 import ObjectMeta

FINALIZER = "kubernetes"


class NamespaceStrategy(GenericStrategy):
    """Active at first; Terminating until spec.finalizers is empty."""

    def prepare_for_create(self, obj: Any) -> None:
        obj.ClearField("status")
        obj.status.phase = "Active"
        if FINALIZER not in obj.spec.finalizers:
            obj.spec.finalizers.append(FINALIZER)

    def prepare_for_update(self, new: Any, old: Any) -> None:
        keep(new, old, "status")
        # Only the subresource `finalize` changes them.
        new.spec.ClearField("finalizers")
        new.spec.finalizers.extend(old.spec.finalizers)

    def may_go(self, obj: Any) -> bool:
        return not obj.spec.finalizers

    def mark_deleting(self, obj: Any) -> None:
        obj.status.phase = "Terminating"


class NamespaceFinalizeStrategy(StatusStrategy):
    """The subresource namespaces/finalize: spec.finalizers changes, and nothing else."""

    def prepare_for_update(self, new: Any, old: Any) -> None:
        finalizers = list(new.spec.finalizers)
        meta = ObjectMeta()
        meta.CopyFrom(new.metadata)
        new.CopyFrom(old)
        keep(new.metadata, meta, "finalizers")
        new.spec.ClearField("finalizers")
        new.spec.finalizers.extend(finalizers)
