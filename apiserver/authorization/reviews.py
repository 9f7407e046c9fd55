"""SubjectAccessReview and its relatives: questions about who may do what.

Source: k8s.io/kubernetes pkg/registry/authorization/*, pkg/apis/authorization/validation.
"""

from collections.abc import Sequence
from typing import Protocol, TypeVar

from google.protobuf.message import Message

from apiserver.authorization.interface import Attributes, Authorizer, RuleResolver
from apiserver.verbs.interface import Target, UserInfo
from podpath.api import errors
from podpath.api.errors import FieldError
from protos.k8s.authorization_v1_pb2 import (
    FieldSelectorAttributes,
    LocalSubjectAccessReview,
    NonResourceAttributes,
    ResourceAttributes,
    SelfSubjectAccessReview,
    SelfSubjectRulesReview,
    SubjectAccessReview,
    SubjectAccessReviewSpec,
    SubjectAccessReviewStatus,
)

GROUP = "authorization.k8s.io"

MessageT = TypeVar("MessageT", bound=Message)


class _Spec(Protocol):
    """What all access review specs have."""

    @property
    def resourceAttributes(self) -> ResourceAttributes: ...

    @property
    def nonResourceAttributes(self) -> NonResourceAttributes: ...


class AccessReviews:
    """Handlers of the four reviews; nothing is stored."""

    def __init__(self, authorizer: Authorizer, rules: RuleResolver) -> None:
        self._authorizer = authorizer
        self._rules = rules

    async def subject(self, user: UserInfo, target: Target, obj: Message) -> Message:
        """`create subjectaccessreviews`: what kubelets ask about who calls them."""
        del user, target
        review = _copy(obj, SubjectAccessReview)
        _check(_subject_errors(review.spec))
        self._answer(review.status, _user_of(review.spec), review.spec)
        return review

    async def local(self, user: UserInfo, target: Target, obj: Message) -> Message:
        """`create localsubjectaccessreviews`: the same within one namespace."""
        del user
        review = _copy(obj, LocalSubjectAccessReview)
        _check(_local_errors(review, target.namespace))
        self._answer(review.status, _user_of(review.spec), review.spec)
        return review

    async def own(self, user: UserInfo, target: Target, obj: Message) -> Message:
        """`create selfsubjectaccessreviews` (kubectl auth can-i)."""
        del target
        review = _copy(obj, SelfSubjectAccessReview)
        _check(_attribute_errors(review.spec))
        self._answer(review.status, user, review.spec)
        return review

    async def own_rules(self, user: UserInfo, target: Target, obj: Message) -> Message:
        """`create selfsubjectrulesreviews` (kubectl auth can-i --list)."""
        del target
        review = _copy(obj, SelfSubjectRulesReview)
        if not review.spec.namespace:
            raise errors.bad_request("no namespace on request")
        rules = self._rules.rules_for(user, review.spec.namespace)
        review.status.Clear()
        for rule in rules.resource_rules:
            review.status.resourceRules.add(
                verbs=rule.verbs,
                apiGroups=rule.groups,
                resources=rule.resources,
                resourceNames=rule.names,
            )
        for path_rule in rules.path_rules:
            review.status.nonResourceRules.add(
                verbs=path_rule.verbs, nonResourceURLs=path_rule.paths
            )
        review.status.incomplete = bool(rules.error)
        if rules.error:
            review.status.evaluationError = rules.error
        return review

    def _answer(self, status: SubjectAccessReviewStatus, user: UserInfo, spec: _Spec) -> None:
        decision = self._authorizer.authorize(_attributes(user, spec))
        status.Clear()
        status.allowed = decision.allowed
        if decision.reason:
            status.reason = decision.reason


def _copy(obj: Message, kind: type[MessageT]) -> MessageT:
    if not isinstance(obj, kind):
        raise errors.bad_request(f"not a {kind.__name__}: {type(obj).__name__}")
    copied = kind()
    copied.CopyFrom(obj)
    return copied


def _user_of(spec: SubjectAccessReviewSpec) -> UserInfo:
    extra = {key: tuple(value.items) for key, value in spec.extra.items()}
    return UserInfo(spec.user, spec.uid, tuple(spec.groups), extra)


def _attributes(user: UserInfo, spec: _Spec) -> Attributes:
    path = spec.nonResourceAttributes
    if path.path or path.verb:
        return Attributes(user, path.verb, path=path.path)
    asked = spec.resourceAttributes
    return Attributes(
        user,
        asked.verb,
        asked.group,
        asked.resource,
        asked.subresource,
        asked.namespace,
        asked.name,
        field_selector=_selector_text(asked.fieldSelector),
    )


def _selector_text(selector: FieldSelectorAttributes) -> str:
    if selector.rawSelector:
        return selector.rawSelector
    single = [r for r in selector.requirements if r.operator == "In" and len(r.values) == 1]
    return ",".join(f"{requirement.key}={requirement.values[0]}" for requirement in single)


def _check(found: Sequence[FieldError]) -> None:
    if found:
        raise errors.invalid_object(GROUP, "", "", found)


def _present(spec: _Spec, field: str) -> bool:
    return isinstance(spec, Message) and spec.HasField(field)


def _attribute_errors(spec: _Spec) -> list[FieldError]:
    resource = _present(spec, "resourceAttributes")
    other = _present(spec, "nonResourceAttributes")
    if resource and other:
        wrong = "cannot be specified in combination with resourceAttributes"
        return [_with_path_attributes(spec, wrong)]
    if not resource and not other:
        wrong = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        return [errors.invalid("spec.resourceAttributes", "null", wrong)]
    return []


def _with_path_attributes(spec: _Spec, wrong: str) -> FieldError:
    asked = spec.nonResourceAttributes
    shown = f'authorization.NonResourceAttributes{{Path:"{asked.path}", Verb:"{asked.verb}"}}'
    return FieldError(
        "FieldValueInvalid", "spec.nonResourceAttributes", f"Invalid value: {shown}: {wrong}"
    )


def _subject_errors(spec: SubjectAccessReviewSpec) -> list[FieldError]:
    found = _attribute_errors(spec)
    if not spec.user and not spec.groups:
        wrong = "at least one of user or group must be specified"
        found.append(errors.invalid("spec.user", spec.user, wrong))
    return found


def _local_errors(review: LocalSubjectAccessReview, namespace: str) -> list[FieldError]:
    found = _subject_errors(review.spec)
    if review.spec.HasField("resourceAttributes"):
        asked = review.spec.resourceAttributes.namespace
        if asked != namespace:
            path = "spec.resourceAttributes.namespace"
            found.append(errors.invalid(path, asked, "must match metadata.namespace"))
    if review.spec.HasField("nonResourceAttributes"):
        found.append(_with_path_attributes(review.spec, "disallowed on this kind of request"))
    return found
