"""What is particular to CertificateSigningRequests: the spec never changes; `approval` decides,
`status` carries the certificate.

Source: k8s.io/kubernetes pkg/registry/certificates/certificates/strategy.go.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from apiserver.registry.strategy import GenericStrategy, StatusStrategy, Strategy, keep
from apiserver.validation.certificates import (
    APPROVED,
    DENIED,
    validate_certificate_change,
    validate_condition_changes,
    validate_conditions,
)
from podpath.api.errors import FieldError
from podpath.component_base.clock import Clock


@dataclass(frozen=True)
class CsrStrategy(GenericStrategy):
    """Who asks is written by admission (`apiserver/admission/certificates.py`)."""

    clock: Clock

    def prepare_for_update(self, new: Any, old: Any) -> None:
        keep(new, old, "spec")
        keep(new, old, "status")

    def updates(self) -> Mapping[str, Strategy]:
        """The strategies of the subresources."""
        return {
            "approval": CsrApprovalStrategy(self, self.clock),
            "status": CsrStatusStrategy(self, self.clock),
        }


@dataclass(frozen=True)
class CsrApprovalStrategy(StatusStrategy):
    """Approved or Denied may be added; the certificate stays."""

    clock: Clock

    def prepare_for_update(self, new: Any, old: Any) -> None:
        super().prepare_for_update(new, old)
        new.status.ClearField("certificate")
        if old.status.HasField("certificate"):
            new.status.certificate = old.status.certificate
        _stamp(new, old, self.clock)

    def validate_update(self, new: Any, old: Any) -> list[FieldError]:
        found = super().validate_update(new, old) + validate_conditions(new)
        return found + validate_condition_changes(new, old, may_approve=True)


@dataclass(frozen=True)
class CsrStatusStrategy(StatusStrategy):
    """The certificate, and conditions other than the decision."""

    clock: Clock

    def prepare_for_update(self, new: Any, old: Any) -> None:
        super().prepare_for_update(new, old)
        # The decision is `approval`'s: it is carried over as it was.
        others = [c for c in new.status.conditions if c.type not in (APPROVED, DENIED)]
        decided = [c for c in old.status.conditions if c.type in (APPROVED, DENIED)]
        kept = [type(c).FromString(c.SerializeToString()) for c in (*decided, *others)]
        del new.status.conditions[:]
        new.status.conditions.extend(kept)
        _stamp(new, old, self.clock)

    def validate_update(self, new: Any, old: Any) -> list[FieldError]:
        found = super().validate_update(new, old) + validate_conditions(new)
        found += validate_condition_changes(new, old, may_approve=False)
        return found + validate_certificate_change(new, old)


def _stamp(new: Any, old: Any, clock: Clock) -> None:
    """Conditions say when they were written and when they changed."""
    before = {condition.type: condition for condition in old.status.conditions}
    now = int(clock.now().timestamp())
    for condition in new.status.conditions:
        if not condition.lastUpdateTime.seconds:
            condition.lastUpdateTime.seconds = now
        if not condition.lastTransitionTime.seconds:
            earlier = before.get(condition.type)
            if earlier is not None and earlier.status == condition.status:
                condition.lastTransitionTime.CopyFrom(earlier.lastTransitionTime)
            else:
                condition.lastTransitionTime.seconds = now
