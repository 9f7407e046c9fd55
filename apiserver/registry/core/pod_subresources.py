"""The subresources pods/ephemeralcontainers and pods/resize: each changes one thing of a spec.

Source: pkg/registry/core/pod/strategy.go (podEphemeralContainersStrategy, podResizeStrategy).
"""

from typing import Any

from apiserver.registry.core.pod import qos_class
from apiserver.registry.strategy import StatusStrategy, differs_beyond_metadata
from apiserver.validation import pod_subresources
from podpath.api.errors import FieldError
from protos.k8s.core_v1_pb2 import Pod


class EphemeralContainersStrategy(StatusStrategy):
    """Ephemeral containers are added; nothing else changes."""

    def prepare_for_update(self, new: Any, old: Any) -> None:
        wanted = Pod()
        wanted.spec.ephemeralContainers.extend(new.spec.ephemeralContainers)
        new.CopyFrom(old)
        new.spec.ClearField("ephemeralContainers")
        new.spec.ephemeralContainers.extend(wanted.spec.ephemeralContainers)
        _count(new, old)

    def validate_update(self, new: Any, old: Any) -> list[FieldError]:
        return pod_subresources.validate_ephemeral_containers_update(new, old)


class ResizeStrategy(StatusStrategy):
    """Requests, limits and resize policies of containers change; nothing else."""

    def prepare_for_update(self, new: Any, old: Any) -> None:
        wanted = Pod()
        wanted.CopyFrom(new)
        new.CopyFrom(old)
        for name in ("containers", "initContainers"):
            sizes = {container.name: container for container in getattr(wanted.spec, name)}
            for container in getattr(new.spec, name):
                if (size := sizes.get(container.name)) is None:
                    continue
                container.resources.CopyFrom(size.resources)
                del container.resizePolicy[:]
                container.resizePolicy.extend(size.resizePolicy)
        _count(new, old)

    def validate_update(self, new: Any, old: Any) -> list[FieldError]:
        return pod_subresources.validate_resize(new, old, qos_class(new), qos_class(old))


def _count(new: Any, old: Any) -> None:
    if differs_beyond_metadata(new, old):
        new.metadata.generation = old.metadata.generation + 1
