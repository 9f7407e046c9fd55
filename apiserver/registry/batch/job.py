"""What is particular to Jobs: a selector made from their uid.

Source: pkg/registry/batch/job/strategy.go (generateSelector).
"""

from typing import Any

from apiserver.registry.strategy import GenericStrategy, keep

_UID_LABEL = "batch.kubernetes.io/controller-uid"
_NAME_LABEL = "batch.kubernetes.io/job-name"


class JobStrategy(GenericStrategy):
    """Labels its Pods by uid and name unless manualSelector is set."""

    def prepare_for_create(self, obj: Any) -> None:
        super().prepare_for_create(obj)
        if obj.spec.manualSelector:
            return
        labels = obj.spec.template.metadata.labels
        for key, value in (
            (_UID_LABEL, obj.metadata.uid),
            (_NAME_LABEL, obj.metadata.name),
            ("controller-uid", obj.metadata.uid),
            ("job-name", obj.metadata.name),
        ):
            if key not in labels:
                labels[key] = value
        obj.spec.selector.matchLabels[_UID_LABEL] = obj.metadata.uid

    def prepare_for_update(self, new: Any, old: Any) -> None:
        if not new.spec.HasField("selector"):
            keep(new.spec, old.spec, "selector")
        super().prepare_for_update(new, old)
