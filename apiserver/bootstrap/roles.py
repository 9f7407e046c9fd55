"""Bootstrap RBAC objects, made from the tables beside this file.

`admin`, `edit` and `view` are aggregated from the roles with the matching label, so that whoever
adds resources adds a labelled role. podpath's own additions are marked.

Source: k8s.io/kubernetes plugin/pkg/auth/authorizer/rbac/bootstrappolicy.
"""

from collections.abc import Iterable, Iterator, Sequence

from google.protobuf.message import Message

from apiserver.authentication import users
from apiserver.bootstrap import roles_components, roles_controllers, roles_users
from podpath.component_base.pki import KUBELET_CLIENT_USER
from protos.k8s.meta_v1_pb2 import LabelSelector, ObjectMeta
from protos.k8s.rbac_v1_pb2 import (
    AggregationRule,
    ClusterRole,
    ClusterRoleBinding,
    PolicyRule,
    Role,
    RoleBinding,
    RoleRef,
    Subject,
)

GROUP = "rbac.authorization.k8s.io"
_LABELS = {"kubernetes.io/bootstrapping": "rbac-defaults"}
_ANNOTATIONS = {"rbac.authorization.kubernetes.io/autoupdate": "true"}
_AGGREGATE = "rbac.authorization.k8s.io/aggregate-to-"

# role -> the aggregated role that it is part of
_PART_OF = {
    "system:aggregate-to-admin": "admin",
    "system:aggregate-to-edit": "edit",
    "system:aggregate-to-view": "view",
    "edit": "admin",
    "view": "edit",
}
_AGGREGATED = ("admin", "edit", "view")

_Bindings = Sequence[tuple[str, tuple[Subject, ...]]]


def _user(name: str) -> Subject:
    return Subject(kind="User", apiGroup=GROUP, name=name)


def _group(name: str) -> Subject:
    return Subject(kind="Group", apiGroup=GROUP, name=name)


def _account(name: str) -> Subject:
    return Subject(kind="ServiceAccount", name=name, namespace="kube-system")


_SCHEDULER = _user(users.KUBE_SCHEDULER)
_CONTROLLERS = _user(users.KUBE_CONTROLLER_MANAGER)

_CLUSTER_BINDINGS: _Bindings = (
    ("cluster-admin", (_group(users.MASTERS),)),
    ("system:basic-user", (_group(users.AUTHENTICATED),)),
    ("system:discovery", (_group(users.AUTHENTICATED),)),
    ("system:kube-controller-manager", (_CONTROLLERS,)),
    ("system:kube-dns", (_account("kube-dns"),)),
    ("system:kube-scheduler", (_SCHEDULER,)),
    ("system:monitoring", (_group("system:monitoring"),)),
    ("system:node", ()),  # the node authorizer decides instead
    ("system:node-proxier", (_user("system:kube-proxy"),)),
    ("system:public-info-viewer", (_group(users.AUTHENTICATED), _group(users.UNAUTHENTICATED))),
    ("system:service-account-issuer-discovery", (_group(users.SERVICE_ACCOUNTS),)),
    ("system:volume-scheduler", (_SCHEDULER,)),
)

_LEADER_LOCK = (
    "watch; core; configmaps",
    "get update; core; configmaps; {0}",
    "create get list update watch; coordination.k8s.io; leases",
    "create get list update watch; coordination.k8s.io; leasecandidates",
)
_EVENTS = "create patch update; core events.k8s.io; events"

# (namespace, role, rules, subjects of the binding); the reader's binding has a name of its own
_NAMESPACED: Sequence[tuple[str, str, tuple[str, ...], tuple[Subject, ...]]] = (
    (
        "kube-system",
        "extension-apiserver-authentication-reader",
        ("get list watch; core; configmaps; extension-apiserver-authentication",),
        (_CONTROLLERS, _SCHEDULER),
    ),
    (
        "kube-system",
        "system::leader-locking-kube-controller-manager",
        tuple(rule.format("kube-controller-manager") for rule in _LEADER_LOCK),
        (
            _CONTROLLERS,
            _account("kube-controller-manager"),
            _account("leader-election-controller"),
        ),
    ),
    (
        "kube-system",
        "system::leader-locking-kube-scheduler",
        tuple(rule.format("kube-scheduler") for rule in _LEADER_LOCK),
        (_SCHEDULER, _account("kube-scheduler")),
    ),
    (
        "kube-system",
        "system:controller:bootstrap-signer",
        ("get list watch; core; secrets",),
        (_account("bootstrap-signer"),),
    ),
    (
        "kube-system",
        "system:controller:cloud-provider",
        ("create get list watch; core; configmaps",),
        (_account("cloud-provider"),),
    ),
    (
        "kube-system",
        "system:controller:token-cleaner",
        ("delete get list watch; core; secrets", _EVENTS),
        (_account("token-cleaner"),),
    ),
    (  # where the nodes' Pod networks are: all that a kubelet may know of other nodes
        "kube-system",
        "podpath:pod-routes",
        ("get list watch; core; configmaps; podpath-pod-routes",),
        (_group(users.NODES),),
    ),
    (
        "kube-public",
        "system:controller:bootstrap-signer",
        (
            "get list watch; core; configmaps",
            "update; core; configmaps; cluster-info",
            _EVENTS,
        ),
        (_account("bootstrap-signer"),),
    ),
)
_BINDING_NAMES = {
    "extension-apiserver-authentication-reader": "system::extension-apiserver-authentication-reader"
}

# podpath's controllers run as one user, where upstream gives each a ServiceAccount.
_OWN_PREFIX = "podpath:"
_OWN_CONTROLLERS = "podpath:controllers"
_OWN_KUBELET_CLIENT = "podpath:kubelet-api-admin"

BOOTSTRAPPERS = "system:bootstrappers:podpath:default-node-token"
"""The group of the tokens that nodes join with; each of upstream's installers has its own."""
_CSR = "system:certificates.k8s.io:certificatesigningrequests"
# name -> (role, subject): how nodes join and renew their certificates
_JOINING = {
    "podpath:node-bootstrapper": ("system:node-bootstrapper", _group(BOOTSTRAPPERS)),
    "podpath:node-autoapprove-bootstrap": (f"{_CSR}:nodeclient", _group(BOOTSTRAPPERS)),
    "podpath:node-autoapprove-rotation": (f"{_CSR}:selfnodeclient", _group(users.NODES)),
    "podpath:controllers:kubelet-serving-approver": (
        "system:certificates.k8s.io:kubelet-serving-approver",
        _CONTROLLERS,
    ),
}


def parse_rule(text: str) -> PolicyRule:
    """`verbs; groups; resources[; names]`, or `verbs; paths`; words are separated by spaces."""
    verbs, *rest = (part.split() for part in text.split(";"))
    if len(rest) == 1:
        return PolicyRule(verbs=verbs, nonResourceURLs=rest[0])
    groups = ["" if group == "core" else group for group in rest[0]]
    names = rest[2] if len(rest) > 2 else []
    return PolicyRule(verbs=verbs, apiGroups=groups, resources=rest[1], resourceNames=names)


def rules(texts: Iterable[str]) -> list[PolicyRule]:
    return [parse_rule(text) for text in texts]


def _meta(name: str, namespace: str = "") -> ObjectMeta:
    meta = ObjectMeta(name=name, labels=_LABELS, annotations=_ANNOTATIONS)
    if namespace:
        meta.namespace = namespace
    return meta


def cluster_roles() -> Iterator[ClusterRole]:
    tables = (roles_users.ROLES, roles_components.ROLES, roles_controllers.ROLES)
    for name, texts in (item for table in tables for item in table.items()):
        role = ClusterRole(metadata=_meta(name), rules=rules(texts))
        _label_part(role)
        yield role
    for name in _AGGREGATED:
        selector = LabelSelector(matchLabels={f"{_AGGREGATE}{name}": "true"})
        role = ClusterRole(
            metadata=_meta(name),
            aggregationRule=AggregationRule(clusterRoleSelectors=[selector]),
        )
        _label_part(role)
        yield role


def _label_part(role: ClusterRole) -> None:
    whole = _PART_OF.get(role.metadata.name)
    if whole:
        role.metadata.labels[f"{_AGGREGATE}{whole}"] = "true"


def cluster_role_bindings() -> Iterator[ClusterRoleBinding]:
    for role, subjects in _CLUSTER_BINDINGS:
        yield _cluster_binding(role, role, subjects)
    for role in roles_controllers.ROLES:
        account = role.removeprefix("system:controller:")
        yield _cluster_binding(role, role, (_account(account),))
        yield _cluster_binding(f"{_OWN_CONTROLLERS}:{account}", role, (_CONTROLLERS,))
    for name, (role, subject) in _JOINING.items():
        yield _cluster_binding(name, role, (subject,))
    client = (_user(KUBELET_CLIENT_USER),)
    yield _cluster_binding(_OWN_KUBELET_CLIENT, "system:kubelet-api-admin", client)


def _cluster_binding(name: str, role: str, subjects: tuple[Subject, ...]) -> ClusterRoleBinding:
    ref = RoleRef(apiGroup=GROUP, kind="ClusterRole", name=role)
    return ClusterRoleBinding(metadata=_meta(name), subjects=subjects, roleRef=ref)


def namespaced_roles() -> Iterator[Role]:
    for namespace, name, texts, _ in _NAMESPACED:
        yield Role(metadata=_meta(name, namespace), rules=rules(texts))


def role_bindings() -> Iterator[RoleBinding]:
    for namespace, name, _, subjects in _NAMESPACED:
        yield RoleBinding(
            metadata=_meta(_BINDING_NAMES.get(name, name), namespace),
            subjects=subjects,
            roleRef=RoleRef(apiGroup=GROUP, kind="Role", name=name),
        )


def is_own(obj: Message) -> bool:
    """True for what podpath adds to upstream's policy."""
    return str(obj.metadata.name).startswith(_OWN_PREFIX)  # type: ignore[attr-defined]
