"""Nobody grants what they do not hold (messages recorded from kube-apiserver 1.32.4)."""

import pytest

from apiserver.admission.interface import Attributes
from apiserver.authorization.authorizer import ClusterAuthorizer
from apiserver.authorization.escalation import EscalationCheck
from apiserver.bootstrap.roles import parse_rule
from apiserver.verbs.interface import Target, UserInfo
from podpath.api import scheme
from podpath.api.errors import ApiError
from protos.k8s.meta_v1_pb2 import LabelSelector, ObjectMeta
from protos.k8s.rbac_v1_pb2 import (
    ClusterRole,
    ClusterRoleBinding,
    Role,
    RoleBinding,
    RoleRef,
    Subject,
)
from tests.support.fake_lister import FakeLister

BOB = UserInfo("bob", groups=("system:authenticated",))
MASTER = UserInfo("root", groups=("system:masters",))
HEAD = (
    'user "bob" (groups=["system:authenticated"]) is attempting to grant RBAC permissions not '
    "currently held:\n"
)


def cluster_role(name, *rules, selector=False):
    role = ClusterRole(metadata=ObjectMeta(name=name), rules=[parse_rule(r) for r in rules])
    if selector:
        label = LabelSelector(matchLabels={"a": "b"})
        role.aggregationRule.clusterRoleSelectors.append(label)
    return role


def binding(name, role, namespace="default", subject="eve"):
    return RoleBinding(
        metadata=ObjectMeta(name=name, namespace=namespace),
        roleRef=RoleRef(kind="ClusterRole", name=role),
        subjects=[Subject(kind="User", name=subject)],
    )


def check_of(*bobs_rules):
    bobs = ClusterRoleBinding(
        metadata=ObjectMeta(name="bob"),
        roleRef=RoleRef(kind="ClusterRole", name="bobs"),
        subjects=[Subject(kind="User", name="bob")],
    )
    lister = FakeLister(
        (scheme.CLUSTERROLES, cluster_role("bobs", *bobs_rules)),
        (scheme.CLUSTERROLES, cluster_role("dns", "list watch; core; endpoints services")),
        (scheme.CLUSTERROLEBINDINGS, bobs),
    )
    return EscalationCheck(ClusterAuthorizer(lister, lister))


async def write(check, obj, old=None, user=BOB):
    resource = {
        ClusterRole: scheme.CLUSTERROLES,
        Role: scheme.ROLES,
        RoleBinding: scheme.ROLEBINDINGS,
        ClusterRoleBinding: scheme.CLUSTERROLEBINDINGS,
    }[type(obj)]
    target = Target(resource, obj.metadata.namespace, obj.metadata.name)
    attributes = Attributes(user, target, "UPDATE" if old else "CREATE", obj, old)
    assert check.handles(attributes)
    await check.validate(attributes)


PODS = "get; core; pods"
MORE = cluster_role("x", "get list; core; pods")


@pytest.mark.parametrize(
    ("held", "obj", "old", "user"),
    [
        pytest.param([PODS], cluster_role("x", PODS), None, BOB, id="what is held"),
        pytest.param([], MORE, None, MASTER, id="system:masters"),
        pytest.param([], MORE, MORE, BOB, id="unchanged"),
        pytest.param(
            ["escalate; rbac.authorization.k8s.io; clusterroles"], MORE, None, BOB, id="escalate"
        ),
        pytest.param(["*; *; *", "*; *"], cluster_role("x", selector=True), None, BOB, id="all"),
        pytest.param(
            ["list watch; core; endpoints services"], binding("x", "dns"), None, BOB, id="bind held"
        ),
        pytest.param(
            ["bind; rbac.authorization.k8s.io; clusterroles; dns"],
            binding("x", "dns"),
            None,
            BOB,
            id="bind",
        ),
        pytest.param([], binding("x", "dns"), binding("x", "dns"), BOB, id="binding unchanged"),
    ],
)
async def test_allowed(held, obj, old, user):
    await write(check_of(*held), obj, old, user)


@pytest.mark.parametrize(
    ("obj", "old", "message"),
    [
        pytest.param(
            MORE,
            None,
            f'clusterroles.rbac.authorization.k8s.io "x" is forbidden: {HEAD}'
            '{APIGroups:[""], Resources:["pods"], Verbs:["list"]}',
            id="role",
        ),
        pytest.param(
            MORE,
            cluster_role("x", PODS),
            f'clusterroles.rbac.authorization.k8s.io "x" is forbidden: {HEAD}'
            '{APIGroups:[""], Resources:["pods"], Verbs:["list"]}',
            id="role, updated",
        ),
        pytest.param(
            cluster_role("x", selector=True),
            None,
            'clusterroles.rbac.authorization.k8s.io "x" is forbidden: must have cluster-admin '
            "privileges to use the aggregationRule",
            id="aggregation",
        ),
        pytest.param(
            binding("x", "dns"),
            None,
            f'rolebindings.rbac.authorization.k8s.io "x" is forbidden: {HEAD}'
            '{APIGroups:[""], Resources:["endpoints"], Verbs:["list" "watch"]}\n'
            '{APIGroups:[""], Resources:["services"], Verbs:["list" "watch"]}',
            id="binding",
        ),
        pytest.param(
            binding("x", "dns", subject="mallory"),
            binding("x", "dns"),
            f'rolebindings.rbac.authorization.k8s.io "x" is forbidden: {HEAD}'
            '{APIGroups:[""], Resources:["endpoints"], Verbs:["list" "watch"]}\n'
            '{APIGroups:[""], Resources:["services"], Verbs:["list" "watch"]}',
            id="another subject",
        ),
        pytest.param(
            binding("x", "nope"),
            None,
            'rolebindings.rbac.authorization.k8s.io "nope" not found',
            id="no such role",
        ),
    ],
)
async def test_refused(obj, old, message):
    with pytest.raises(ApiError) as raised:
        await write(check_of(PODS), obj, old)
    assert str(raised.value) == message
