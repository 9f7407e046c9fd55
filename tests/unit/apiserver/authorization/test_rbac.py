"""RBAC over objects in the cache: matching, bindings, aggregation, reasons, invalidation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiserver.authorization.interface import Attributes
from apiserver.authorization.rbac import RbacAuthorizer
from apiserver.authorization.rules import Rule, atoms, compact, covered
from apiserver.bootstrap.roles import parse_rule
from apiserver.verbs.interface import UserInfo
from podpath.api import scheme
from protos.k8s.meta_v1_pb2 import LabelSelector, LabelSelectorRequirement, ObjectMeta
from protos.k8s.rbac_v1_pb2 import (
    AggregationRule,
    ClusterRole,
    ClusterRoleBinding,
    Role,
    RoleBinding,
    RoleRef,
    Subject,
)
from tests.support.fake_lister import FakeLister

JANE = UserInfo("jane", groups=("devs", "system:authenticated"))


def cluster_role(name, *rules, labels=None, selector=None):
    role = ClusterRole(
        metadata=ObjectMeta(name=name, labels=labels or {}), rules=[parse_rule(r) for r in rules]
    )
    if selector is not None:
        role.aggregationRule.CopyFrom(AggregationRule(clusterRoleSelectors=[selector]))
    return role


def role(namespace, name, *rules):
    meta = ObjectMeta(name=name, namespace=namespace)
    return Role(metadata=meta, rules=[parse_rule(r) for r in rules])


def bind_all(role_name, *subjects, name="b"):
    ref = RoleRef(kind="ClusterRole", name=role_name)
    return ClusterRoleBinding(metadata=ObjectMeta(name=name), subjects=subjects, roleRef=ref)


def bind(namespace, kind, role_name, *subjects, name="b"):
    meta = ObjectMeta(name=name, namespace=namespace)
    return RoleBinding(metadata=meta, subjects=subjects, roleRef=RoleRef(kind=kind, name=role_name))


USER = Subject(kind="User", name="jane")
GROUP = Subject(kind="Group", name="devs")
ACCOUNT = Subject(kind="ServiceAccount", name="bot", namespace="ci")


def authorizer(*objects):
    resources = {
        ClusterRole: scheme.CLUSTERROLES,
        Role: scheme.ROLES,
        ClusterRoleBinding: scheme.CLUSTERROLEBINDINGS,
        RoleBinding: scheme.ROLEBINDINGS,
    }
    lister = FakeLister(*((resources[type(o)], o) for o in objects))
    return lister, RbacAuthorizer(lister, lister)


@pytest.mark.parametrize(
    ("rule", "verb", "group", "resource", "subresource", "name", "allowed"),
    [
        ("get; core; pods", "get", "", "pods", "", "", True),
        ("get; core; pods", "list", "", "pods", "", "", False),
        ("get; core; pods", "get", "apps", "pods", "", "", False),
        ("get; core; pods", "get", "", "pods", "log", "", False),
        ("get; core; pods/log", "get", "", "pods", "log", "", True),
        ("get; core; pods/log", "get", "", "pods", "", "", False),
        ("get; core; */log", "get", "", "pods", "log", "", True),
        ("get; core; */scale", "get", "", "pods", "log", "", False),
        ("get; core; *", "get", "", "pods", "log", "", True),
        ("*; *; *", "frobnicate", "x.io", "ys", "zs", "", True),
        ("get; core; pods; a b", "get", "", "pods", "", "b", True),
        ("get; core; pods; a b", "get", "", "pods", "", "c", False),
        ("get; core; pods; a b", "list", "", "pods", "", "", False),
        ("get; /healthz", "get", "", "pods", "", "", False),
    ],
)
def test_resource_rules(rule, verb, group, resource, subresource, name, allowed):
    attributes = Attributes(JANE, verb, group, resource, subresource, "ns", name)
    assert Rule.of(parse_rule(rule)).allows(attributes) is allowed
    _, rbac = authorizer(cluster_role("r", rule), bind_all("r", USER))
    assert rbac.authorize(attributes).allowed is allowed
    assert rbac.authorize(attributes).allowed is allowed, "the remembered answer is the same"


@pytest.mark.parametrize(
    ("pattern", "path", "allowed"),
    [
        ("/healthz", "/healthz", True),
        ("/healthz", "/healthz/etcd", False),
        ("/healthz/*", "/healthz/etcd", True),
        ("/healthz*", "/healthz/etcd", True),
        ("/healthz/*", "/healthz", False),
        ("*", "/anything", True),
    ],
)
def test_path_rules(pattern, path, allowed):
    _, rbac = authorizer(cluster_role("r", f"get; {pattern}"), bind_all("r", USER))
    assert rbac.authorize(Attributes(JANE, "get", path=path)).allowed is allowed
    assert not rbac.authorize(Attributes(JANE, "post", path=path)).allowed


PODS_ROLE = cluster_role("r", "list; core; pods")


@pytest.mark.parametrize(
    ("objects", "user", "namespace", "reason"),
    [
        pytest.param(
            [PODS_ROLE, bind_all("r", USER)],
            JANE,
            "",
            'RBAC: allowed by ClusterRoleBinding "b" of ClusterRole "r" to User "jane"',
            id="cluster binding of a user",
        ),
        pytest.param(
            [PODS_ROLE, bind_all("r", GROUP)],
            JANE,
            "x",
            'RBAC: allowed by ClusterRoleBinding "b" of ClusterRole "r" to Group "devs"',
            id="cluster binding of a group",
        ),
        pytest.param(
            [PODS_ROLE, bind("x", "ClusterRole", "r", ACCOUNT)],
            UserInfo("system:serviceaccount:ci:bot"),
            "x",
            'RBAC: allowed by RoleBinding "b/x" of ClusterRole "r" to ServiceAccount "bot/ci"',
            id="cluster role in one namespace",
        ),
        pytest.param(
            [role("x", "r", "list; core; pods"), bind("x", "Role", "r", USER)],
            JANE,
            "x",
            'RBAC: allowed by RoleBinding "b/x" of Role "r" to User "jane"',
            id="role",
        ),
    ],
)
def test_reasons(objects, user, namespace, reason):
    _, rbac = authorizer(*objects)
    attributes = Attributes(user, "list", "", "pods", "", namespace)
    assert rbac.authorize(attributes).reason == reason


@pytest.mark.parametrize(
    ("binding", "namespace"),
    [
        pytest.param(bind("x", "ClusterRole", "r", USER), "", id="not cluster-wide"),
        pytest.param(bind("x", "ClusterRole", "r", USER), "y", id="not elsewhere"),
        pytest.param(bind_all("r", Subject(kind="User", name="joe")), "x", id="another user"),
        pytest.param(bind_all("r", Subject(kind="User", name="devs")), "x", id="no group"),
    ],
)
def test_bindings_reach_no_further(binding, namespace):
    _, rbac = authorizer(PODS_ROLE, binding)
    decision = rbac.authorize(Attributes(JANE, "list", "", "pods", "", namespace))
    assert (decision.allowed, decision.reason) == (False, "")


def test_missing_roles_are_told_when_denied():
    objects = [bind_all("gone", USER), bind("x", "Role", "lost", USER)]
    _, rbac = authorizer(*objects)
    attributes = Attributes(JANE, "list", "", "pods", "", "x")
    assert rbac.authorize(attributes).reason == (
        'RBAC: [clusterrole.rbac.authorization.k8s.io "gone" not found, '
        'role.rbac.authorization.k8s.io "lost" not found]'
    )
    single = rbac.authorize(Attributes(JANE, "list", "", "pods"))
    assert single.reason == 'RBAC: clusterrole.rbac.authorization.k8s.io "gone" not found'


def test_changes_count_at_once():
    lister, rbac = authorizer(PODS_ROLE)
    asked = Attributes(JANE, "list", "", "pods")
    assert not rbac.authorize(asked).allowed
    lister.put(scheme.CLUSTERROLEBINDINGS, bind_all("r", USER))
    assert rbac.authorize(asked).allowed
    lister.put(scheme.CLUSTERROLES, cluster_role("r", "get; core; pods"))
    assert not rbac.authorize(asked).allowed
    lister.put(scheme.CLUSTERROLES, PODS_ROLE)
    lister.remove(scheme.CLUSTERROLEBINDINGS, "", "b")
    assert not rbac.authorize(asked).allowed


def _expression(operator, *values):
    term = LabelSelectorRequirement(key="to", operator=operator, values=values)
    return LabelSelector(matchExpressions=[term])


@pytest.mark.parametrize(
    ("selector", "allowed"),
    [
        (LabelSelector(matchLabels={"to": "admin"}), True),
        (LabelSelector(matchLabels={"to": "view"}), False),
        (_expression("In", "x", "admin"), True),
        (_expression("NotIn", "admin"), False),
        (_expression("Exists"), True),
        (_expression("DoesNotExist"), False),
        (_expression("Wrong"), False),
    ],
)
def test_aggregation(selector, allowed):
    _, rbac = authorizer(
        cluster_role("admin", selector=selector),
        cluster_role("part", "list; core; pods", labels={"to": "admin"}),
        bind_all("admin", USER),
    )
    assert rbac.authorize(Attributes(JANE, "list", "", "pods")).allowed is allowed


def test_aggregation_of_aggregations_and_circles_end():
    to_a, to_b = LabelSelector(matchLabels={"a": "1"}), LabelSelector(matchLabels={"b": "1"})
    _, rbac = authorizer(
        cluster_role("a", selector=to_a, labels={"b": "1"}),
        cluster_role("b", selector=to_b, labels={"a": "1"}),
        cluster_role("leaf", "list; core; pods", labels={"b": "1"}),
        bind_all("a", USER),
    )
    assert rbac.authorize(Attributes(JANE, "list", "", "pods")).allowed


def test_rules_of_a_user():
    _, rbac = authorizer(
        cluster_role("r", "list get; core; pods", "get; /x"),
        bind_all("r", USER),
        bind_all("gone", USER, name="c"),
    )
    rules = rbac.rules_for(JANE, "ns")
    assert [(r.verbs, r.resources) for r in rules.resource_rules] == [(("get", "list"), ("pods",))]
    assert [r.paths for r in rules.path_rules] == [("/x",)]
    assert "gone" in rules.error


# ------------------------------------------------------------ covering (escalation)

words = st.sampled_from(["*", "get", "list", "apps", "", "pods", "pods/log", "*/log", "a"])
sets = st.frozensets(words, min_size=1, max_size=3)
rules_ = st.builds(
    Rule,
    st.frozensets(st.sampled_from(["*", "get", "list"]), min_size=1),
    st.frozensets(st.sampled_from(["*", "", "apps"]), min_size=1),
    st.frozensets(st.sampled_from(["*", "pods", "pods/log", "*/log"]), min_size=1),
    st.frozensets(st.sampled_from(["a", "b"])),
)
requests = st.builds(
    Attributes,
    st.just(JANE),
    st.sampled_from(["get", "list", "watch"]),
    st.sampled_from(["", "apps", "batch"]),
    st.sampled_from(["pods", "jobs"]),
    st.sampled_from(["", "log", "status"]),
    st.just("ns"),
    st.sampled_from(["", "a", "b", "c"]),
)


@given(st.lists(rules_, max_size=3), rules_, requests)
def test_what_is_covered_allows_no_more(held, wanted, request_):
    """If every grant of a rule is covered, whatever it allows is allowed by the rules held."""
    if all(covered(atom, held) for atom in atoms(wanted)) and wanted.allows(request_):
        assert any(rule.allows(request_) for rule in held)


@given(rules_)
def test_a_rule_covers_itself(rule):
    assert all(covered(atom, [rule]) for atom in atoms(rule))


def test_missing_rules_are_listed_as_upstream_does():
    rules = [
        "get list; core apps; pods a/scale",
        "get; /x",
        "get list; core; secrets; k",
    ]
    held = [Rule.of(parse_rule("get; core; pods"))]
    wanted = [a for r in rules for a in atoms(Rule.of(parse_rule(r)))]
    assert compact(a for a in wanted if not covered(a, held)) == [
        '{APIGroups:[""], Resources:["a/scale"], Verbs:["get" "list"]}',
        '{APIGroups:[""], Resources:["pods"], Verbs:["list"]}',
        '{APIGroups:[""], Resources:["secrets"], ResourceNames:["k"], Verbs:["get" "list"]}',
        '{APIGroups:["apps"], Resources:["a/scale"], Verbs:["get" "list"]}',
        '{APIGroups:["apps"], Resources:["pods"], Verbs:["get" "list"]}',
        '{NonResourceURLs:["/x"], Verbs:["get"]}',
    ]
