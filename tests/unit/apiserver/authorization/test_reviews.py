"""SubjectAccessReview and relatives; messages recorded from kube-apiserver 1.32.4,
but for the one about kubelets' rules."""

import pytest

from apiserver.authorization.authorizer import ClusterAuthorizer
from apiserver.authorization.reviews import AccessReviews
from apiserver.bootstrap.objects import bootstrap_objects
from apiserver.verbs.interface import Target, UserInfo
from podpath.api import scheme
from podpath.api.errors import ApiError
from protos.k8s.authorization_v1_pb2 import (
    LocalSubjectAccessReview,
    SelfSubjectAccessReview,
    SelfSubjectRulesReview,
    SubjectAccessReview,
)
from tests.support.fake_lister import FakeLister

ADMIN = UserInfo("root", groups=("system:masters", "system:authenticated"))
JANE = UserInfo("jane", groups=("system:authenticated",))
ANYWHERE = Target(scheme.SUBJECTACCESSREVIEWS)
DEFAULT = Target(scheme.LOCALSUBJECTACCESSREVIEWS, "default")
NEITHER = (
    'spec.resourceAttributes: Invalid value: "null": exactly one of nonResourceAttributes or '
    "resourceAttributes must be specified"
)


@pytest.fixture(scope="module")
def reviews():
    lister = FakeLister()
    for wanted in bootstrap_objects():
        for obj in wanted.objects:
            lister.put(wanted.resource, obj)
    authorizer = ClusterAuthorizer(lister, lister)
    return AccessReviews(authorizer, authorizer)


def review(kind=SubjectAccessReview, user="", groups=(), resource=None, path=None, namespace=""):
    made = kind()
    if user:
        made.spec.user = user
    if groups:
        made.spec.groups.extend(groups)
    if resource is not None:
        verb, _, name = resource.partition(" ")
        made.spec.resourceAttributes.verb = verb
        made.spec.resourceAttributes.resource, _, subresource = name.partition("/")
        made.spec.resourceAttributes.subresource = subresource
        made.spec.resourceAttributes.namespace = namespace
    if path is not None:
        made.spec.nonResourceAttributes.path = path
        made.spec.nonResourceAttributes.verb = "get"
    return made


@pytest.mark.parametrize(
    ("asked", "allowed", "reason"),
    [
        (
            review(user="system:kube-scheduler", resource="list pods"),
            True,
            'RBAC: allowed by ClusterRoleBinding "system:kube-scheduler" of ClusterRole '
            '"system:kube-scheduler" to User "system:kube-scheduler"',
        ),
        (review(user="x", groups=["system:masters"], resource="list pods"), True, ""),
        (review(user="x", resource="list pods"), False, ""),
        (review(user="kube-apiserver-kubelet-client", resource="get nodes/log"), True, None),
        (review(user="kube-apiserver-kubelet-client", resource="create nodes/proxy"), True, None),
        (review(user="jane", resource="create nodes/proxy"), False, ""),
        (review(groups=["system:unauthenticated"], path="/healthz"), True, None),
        (review(user="x", path="/secret"), False, ""),
    ],
)
async def test_subject_access_review(reviews, asked, allowed, reason):
    answer = await reviews.subject(ADMIN, ANYWHERE, asked)
    assert answer.status.allowed is allowed
    if reason is not None:
        assert answer.status.reason == reason
    assert not asked.HasField("status"), "the request is not changed"


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            review(),
            f'[{NEITHER}, spec.user: Invalid value: "": at least one of user or group must be '
            "specified]",
        ),
        (
            review(user="a", resource="get x", path="/x"),
            "spec.nonResourceAttributes: Invalid value: authorization.NonResourceAttributes"
            '{Path:"/x", Verb:"get"}: cannot be specified in combination with resourceAttributes',
        ),
    ],
)
async def test_invalid_reviews(reviews, asked, message):
    with pytest.raises(ApiError) as raised:
        await reviews.subject(ADMIN, ANYWHERE, asked)
    assert raised.value.code == 422
    assert str(raised.value) == f'.authorization.k8s.io "" is invalid: {message}'


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            review(LocalSubjectAccessReview, "a", resource="get pods", namespace="x"),
            'spec.resourceAttributes.namespace: Invalid value: "x": must match metadata.namespace',
        ),
        (
            review(LocalSubjectAccessReview, "a", path="/x"),
            "spec.nonResourceAttributes: Invalid value: authorization.NonResourceAttributes"
            '{Path:"/x", Verb:"get"}: disallowed on this kind of request',
        ),
    ],
)
async def test_invalid_local_reviews(reviews, asked, message):
    with pytest.raises(ApiError) as raised:
        await reviews.local(ADMIN, DEFAULT, asked)
    assert str(raised.value) == f'.authorization.k8s.io "" is invalid: {message}'


async def test_local_review(reviews):
    asked = review(
        LocalSubjectAccessReview,
        "system:kube-scheduler",
        resource="list pods",
        namespace="default",
    )
    assert (await reviews.local(ADMIN, DEFAULT, asked)).status.allowed


@pytest.mark.parametrize(("user", "allowed"), [(ADMIN, True), (JANE, False)])
async def test_own_access(reviews, user, allowed):
    asked = review(SelfSubjectAccessReview, resource="delete nodes")
    assert (await reviews.own(user, ANYWHERE, asked)).status.allowed is allowed


async def test_own_rules(reviews):
    asked = SelfSubjectRulesReview()
    with pytest.raises(ApiError, match="no namespace on request"):
        await reviews.own_rules(JANE, ANYWHERE, asked)
    asked.spec.namespace = "default"
    status = (await reviews.own_rules(JANE, ANYWHERE, asked)).status
    assert ["selfsubjectreviews"] in [list(r.resources) for r in status.resourceRules]
    assert any("/healthz" in r.nonResourceURLs for r in status.nonResourceRules)
    assert not status.incomplete
    node = UserInfo("system:node:n", groups=("system:nodes",))
    status = (await reviews.own_rules(node, ANYWHERE, asked)).status
    assert status.incomplete
    assert status.evaluationError == "node authorizer does not support user rule resolution"


async def test_another_kind_is_refused(reviews):
    with pytest.raises(ApiError, match="not a SubjectAccessReview"):
        await reviews.subject(ADMIN, ANYWHERE, SelfSubjectRulesReview())
