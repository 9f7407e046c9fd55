"""Defaults of small groups: scheduling, authentication, flow control.

Source: pkg/apis/{scheduling,authentication,flowcontrol}/v1/defaults.go.
"""

from protos.k8s.authentication_v1_pb2 import TokenRequest
from protos.k8s.flowcontrol_v1_pb2 import FlowSchema, PriorityLevelConfiguration
from protos.k8s.scheduling_v1_pb2 import PriorityClass

_TOKEN_SECONDS = 3600
_MATCHING_PRECEDENCE = 1000
_CONCURRENCY_SHARES = 30
_QUEUING = (("queues", 64), ("handSize", 8), ("queueLengthLimit", 50))


def priority_class_defaults(priority_class: PriorityClass) -> None:
    if not priority_class.HasField("preemptionPolicy"):
        priority_class.preemptionPolicy = "PreemptLowerPriority"


def token_request_defaults(request: TokenRequest) -> None:
    if not request.spec.HasField("expirationSeconds"):
        request.spec.expirationSeconds = _TOKEN_SECONDS


def flow_schema_defaults(schema: FlowSchema) -> None:
    schema.spec.matchingPrecedence = schema.spec.matchingPrecedence or _MATCHING_PRECEDENCE


def priority_level_defaults(level: PriorityLevelConfiguration) -> None:
    spec = level.spec
    if spec.HasField("exempt"):
        for name in ("nominalConcurrencyShares", "lendablePercent"):
            if not spec.exempt.HasField(name):
                setattr(spec.exempt, name, 0)
    if spec.HasField("limited"):
        if not spec.limited.HasField("nominalConcurrencyShares"):
            spec.limited.nominalConcurrencyShares = _CONCURRENCY_SHARES
        if not spec.limited.HasField("lendablePercent"):
            spec.limited.lendablePercent = 0
        response = spec.limited.limitResponse
        if response.HasField("queuing"):
            for name, value in _QUEUING:
                if not getattr(response.queuing, name):
                    setattr(response.queuing, name, value)
