"""Defaults of admissionregistration.k8s.io/v1.

Source: pkg/apis/admissionregistration/v1/defaults.go.
"""

from collections.abc import Iterable

from protos.k8s.admissionregistration_v1_pb2 import (
    MatchResources,
    MutatingWebhook,
    MutatingWebhookConfiguration,
    Rule,
    ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicyBinding,
    ValidatingWebhook,
    ValidatingWebhookConfiguration,
)

_WEBHOOK_PORT = 443
_TIMEOUT_SECONDS = 10


def validating_defaults(configuration: ValidatingWebhookConfiguration) -> None:
    for webhook in configuration.Webhooks:
        _webhook_defaults(webhook)


def mutating_defaults(configuration: MutatingWebhookConfiguration) -> None:
    for webhook in configuration.Webhooks:
        _webhook_defaults(webhook)
        if not webhook.HasField("reinvocationPolicy"):
            webhook.reinvocationPolicy = "Never"


def _webhook_defaults(webhook: ValidatingWebhook | MutatingWebhook) -> None:
    if not webhook.HasField("failurePolicy"):
        webhook.failurePolicy = "Fail"
    if not webhook.HasField("timeoutSeconds"):
        webhook.timeoutSeconds = _TIMEOUT_SECONDS
    _match_defaults(webhook)
    service = webhook.clientConfig
    if service.HasField("service") and not service.service.HasField("port"):
        service.service.port = _WEBHOOK_PORT
    _rule_defaults(rule.rule for rule in webhook.rules)


def _match_defaults(target: ValidatingWebhook | MutatingWebhook | MatchResources) -> None:
    if not target.HasField("matchPolicy"):
        target.matchPolicy = "Equivalent"
    target.namespaceSelector.SetInParent()
    target.objectSelector.SetInParent()


def _rule_defaults(rules: Iterable[Rule]) -> None:
    for rule in rules:
        if not rule.HasField("scope"):
            rule.scope = "*"


def policy_defaults(policy: ValidatingAdmissionPolicy) -> None:
    if not policy.spec.HasField("failurePolicy"):
        policy.spec.failurePolicy = "Fail"
    if policy.spec.HasField("matchConstraints"):
        _match_resources_defaults(policy.spec.matchConstraints)


def policy_binding_defaults(binding: ValidatingAdmissionPolicyBinding) -> None:
    if binding.spec.HasField("matchResources"):
        _match_resources_defaults(binding.spec.matchResources)


def _match_resources_defaults(match: MatchResources) -> None:
    _match_defaults(match)
    for rules in (match.resourceRules, match.excludeResourceRules):
        _rule_defaults(named.ruleWithOperations.rule for named in rules)
