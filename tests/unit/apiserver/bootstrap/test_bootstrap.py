"""The bootstrap objects, and that creating them is idempotent."""

import pytest

from apiserver.authentication import users
from apiserver.authorization.authorizer import ClusterAuthorizer
from apiserver.authorization.interface import Attributes
from apiserver.bootstrap import roles
from apiserver.bootstrap.objects import bootstrap_objects
from apiserver.bootstrap.reconcile import reconcile_bootstrap
from apiserver.verbs.interface import ListResult, UserInfo
from podpath.api import errors, scheme
from tests.support.fake_lister import FakeLister


class FakeVersion:
    def __init__(self, obj):
        self.object = obj


class FakeVerbs:
    """Keeps objects in a lister; `taken` names what somebody else creates in between."""

    def __init__(self, taken=()):
        self.lister = FakeLister()
        self.taken = set(taken)
        self.created: list[str] = []
        self.updated: list[str] = []

    async def list(self, user, target, options):
        return ListResult(
            [FakeVersion(o) for o in self.lister.list(target.resource, target.namespace)], "1"
        )

    async def create_batch(self, user, items):
        assert user is users.LOOPBACK
        return [self._create(item) for item in items]

    def _create(self, item):
        name = item.object.metadata.name
        assert item.target.namespace == item.object.metadata.namespace
        if name in self.taken:
            return errors.already_exists("", item.target.resource.name, name)
        self.lister.put(item.target.resource, item.object)
        self.created.append(name)
        return FakeVersion(item.object)

    async def update(self, user, target, obj):
        self.lister.put(target.resource, obj)
        self.updated.append(obj.metadata.name)
        return FakeVersion(obj)


async def test_creates_everything_once():
    verbs = FakeVerbs()
    first = await reconcile_bootstrap(verbs, users.LOOPBACK, "PEM")
    assert first == len(verbs.created) == sum(len(w.objects) for w in bootstrap_objects("PEM"))
    assert await reconcile_bootstrap(verbs, users.LOOPBACK, "PEM") == 0
    assert verbs.updated == []
    assert [n.metadata.name for n in verbs.lister.list(scheme.NAMESPACES)] == [
        "default",
        "kube-system",
        "kube-public",
        "kube-node-lease",
    ]


async def test_another_server_was_first():
    verbs = FakeVerbs(taken={"default", "cluster-admin"})
    await reconcile_bootstrap(verbs, users.LOOPBACK)
    assert "kube-system" in verbs.created


async def test_the_client_authority_follows_its_file():
    verbs = FakeVerbs()
    await reconcile_bootstrap(verbs, users.LOOPBACK, "OLD")
    await reconcile_bootstrap(verbs, users.LOOPBACK, "NEW")
    found = verbs.lister.get(scheme.CONFIGMAPS, "kube-system", "extension-apiserver-authentication")
    assert dict(found.data) == {"client-ca-file": "NEW"}
    assert verbs.updated == ["extension-apiserver-authentication"]


def test_every_binding_names_a_role_that_exists():
    names = {r.metadata.name for r in roles.cluster_roles()}
    local = {(r.metadata.namespace, r.metadata.name) for r in roles.namespaced_roles()}
    for binding in roles.cluster_role_bindings():
        assert binding.roleRef.name in names
    for binding in roles.role_bindings():
        assert (binding.metadata.namespace, binding.roleRef.name) in local


@pytest.mark.parametrize(
    "text",
    [
        "get list; core apps; pods deployments/scale",
        "get; core; configmaps; a b",
        "get; /healthz /healthz/*",
    ],
)
def test_rules_parse(text):
    rule = roles.parse_rule(text)
    groups = " ".join(g or "core" for g in rule.apiGroups)
    parts = [" ".join(rule.verbs), groups, " ".join(rule.resources), " ".join(rule.resourceNames)]
    if rule.nonResourceURLs:
        parts = [" ".join(rule.verbs), " ".join(rule.nonResourceURLs)]
    assert "; ".join(p for p in parts if p) == text


# ------------------------------------------------------------ what the policy lets happen


@pytest.fixture(scope="module")
def authorizer() -> ClusterAuthorizer:
    lister = FakeLister()
    for wanted in bootstrap_objects():
        for obj in wanted.objects:
            lister.put(wanted.resource, obj)
    return ClusterAuthorizer(lister, lister)


CONTROLLERS = UserInfo("system:kube-controller-manager", groups=("system:authenticated",))
SCHEDULER = UserInfo("system:kube-scheduler", groups=("system:authenticated",))
SOMEBODY = UserInfo("jane", groups=("system:authenticated",))
APISERVER = UserInfo("kube-apiserver-kubelet-client", groups=("system:authenticated",))
CORE, APPS, COORDINATION = "", "apps", "coordination.k8s.io"


@pytest.mark.parametrize(
    ("user", "verb", "group", "resource", "subresource", "allowed"),
    [
        (CONTROLLERS, "create", CORE, "serviceaccounts", "", True),
        (CONTROLLERS, "create", CORE, "configmaps", "", True),
        (CONTROLLERS, "update", CORE, "configmaps", "", True),
        (CONTROLLERS, "create", APPS, "replicasets", "", True),
        (CONTROLLERS, "update", APPS, "replicasets", "", True),
        (CONTROLLERS, "update", APPS, "replicasets", "status", True),
        (CONTROLLERS, "update", APPS, "deployments", "status", True),
        (CONTROLLERS, "create", CORE, "pods", "", True),
        (CONTROLLERS, "patch", CORE, "pods", "", True),
        (CONTROLLERS, "delete", CORE, "pods", "", True),
        (CONTROLLERS, "patch", CORE, "pods", "status", True),
        (CONTROLLERS, "update", CORE, "namespaces", "finalize", True),
        (CONTROLLERS, "update", CORE, "namespaces", "status", True),
        (CONTROLLERS, "deletecollection", "custom.example.com", "things", "", True),
        (CONTROLLERS, "patch", CORE, "nodes", "status", True),
        (CONTROLLERS, "update", CORE, "nodes", "", True),
        (CONTROLLERS, "list", COORDINATION, "leases", "", True),
        (CONTROLLERS, "list", CORE, "secrets", "", True),
        (CONTROLLERS, "create", CORE, "events", "", True),
        (SCHEDULER, "create", CORE, "pods", "binding", True),
        (SCHEDULER, "patch", CORE, "pods", "status", True),
        (SCHEDULER, "delete", CORE, "pods", "", True),
        (SCHEDULER, "create", "events.k8s.io", "events", "", True),
        (SCHEDULER, "watch", CORE, "nodes", "", True),
        (SCHEDULER, "list", "storage.k8s.io", "csinodes", "", True),
        (SCHEDULER, "update", CORE, "nodes", "", False),
        (SCHEDULER, "get", CORE, "secrets", "", False),
        (APISERVER, "create", CORE, "nodes", "proxy", True),
        (APISERVER, "get", CORE, "nodes", "log", True),
        (APISERVER, "get", CORE, "secrets", "", False),
        (SOMEBODY, "create", "authorization.k8s.io", "selfsubjectaccessreviews", "", True),
        (SOMEBODY, "list", CORE, "pods", "", False),
        (users.LOOPBACK, "delete", CORE, "nodes", "", True),
        (users.ANONYMOUS_USER, "list", CORE, "pods", "", False),
    ],
)
def test_cluster_wide(authorizer, user, verb, group, resource, subresource, allowed):
    attributes = Attributes(user, verb, group, resource, subresource)
    assert authorizer.authorize(attributes).allowed is allowed


@pytest.mark.parametrize("user", [CONTROLLERS, SCHEDULER])
@pytest.mark.parametrize("verb", ["create", "get", "update"])
def test_leader_election(authorizer, user, verb):
    lease = user.name.removeprefix("system:")
    attributes = Attributes(user, verb, COORDINATION, "leases", "", "kube-system", lease)
    assert authorizer.authorize(attributes).allowed


@pytest.mark.parametrize(
    ("user", "path", "allowed"),
    [
        (users.ANONYMOUS_USER, "/healthz", True),
        (users.ANONYMOUS_USER, "/version", True),
        (users.ANONYMOUS_USER, "/openapi/v3", False),
        (SOMEBODY, "/openapi/v3", True),
        (SOMEBODY, "/apis/apps/v1", True),
        (SOMEBODY, "/metrics", False),
    ],
)
def test_paths(authorizer, user, path, allowed):
    assert authorizer.authorize(Attributes(user, "get", path=path)).allowed is allowed
