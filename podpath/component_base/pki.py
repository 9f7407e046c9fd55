"""The PKI directory of a cluster: which certificates there are, for whom, and where they lie.

The files lie much as kubeadm lays them out, all with mode 0600:

    ca  apiserver  apiserver-kubelet-client  etcd/ca  etcd/server  apiserver-etcd-client
    users/{admin,scheduler,controllers}  nodes/NAME/{client,serving}     each .crt and .key
    sa.key sa.pub                                                        ServiceAccount tokens

Source: k8s.io/kubernetes cmd/kubeadm/app/phases/certs.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from podpath.component_base.certificates import (
    KeyPair,
    PairFiles,
    PkiError,
    Profile,
    client,
    create_ca,
    ensure_ca,
    ensure_leaf,
    ensure_signing_key,
    issue,
    new_key,
    private_key_pem,
    public_key_pem,
    serving,
    write_private,
)
from podpath.component_base.clock import Clock

__all__ = [
    "KUBELET_CLIENT_USER",
    "ClusterNames",
    "ClusterPki",
    "KeyPair",
    "NodeNames",
    "PairFiles",
    "PkiError",
    "Profile",
    "client",
    "create_ca",
    "ensure_ca",
    "ensure_cluster_pki",
    "ensure_leaf",
    "ensure_signing_key",
    "issue",
    "new_key",
    "node_user",
    "private_key_pem",
    "public_key_pem",
    "serving",
    "write_private",
]


@dataclass(frozen=True, slots=True)
class NodeNames:
    """A node and what its kubelet's server is reached by (besides the node's name)."""

    name: str
    dns_names: tuple[str, ...] = ()
    ips: tuple[str, ...] = ("127.0.0.1",)


@dataclass(frozen=True, slots=True)
class ClusterNames:
    """What a cluster's certificates are issued for. `localhost` and loopback are always in."""

    nodes: tuple[NodeNames, ...] = ()
    apiserver_dns_names: tuple[str, ...] = ()
    apiserver_ips: tuple[str, ...] = ()
    etcd_ips: tuple[str, ...] = ()
    service_ip: str = "10.96.0.1"
    cluster_domain: str = "cluster.local"
    extra: Mapping[str, Profile] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ClusterPki:
    """Where everything lies. Only the paths: nothing here reads them."""

    directory: Path

    @property
    def ca(self) -> PairFiles:
        """Signs clients and servers of the API, kubelets included."""
        return PairFiles.at(self.directory / "ca")

    @property
    def apiserver(self) -> PairFiles:
        return PairFiles.at(self.directory / "apiserver")

    @property
    def apiserver_kubelet_client(self) -> PairFiles:
        """What the API server shows to kubelets."""
        return PairFiles.at(self.directory / "apiserver-kubelet-client")

    @property
    def etcd_ca(self) -> PairFiles:
        return PairFiles.at(self.directory / "etcd" / "ca")

    @property
    def etcd_server(self) -> PairFiles:
        return PairFiles.at(self.directory / "etcd" / "server")

    @property
    def apiserver_etcd_client(self) -> PairFiles:
        return PairFiles.at(self.directory / "apiserver-etcd-client")

    @property
    def service_account_key(self) -> Path:
        return self.directory / "sa.key"

    @property
    def service_account_public_key(self) -> Path:
        return self.directory / "sa.pub"

    @property
    def admin(self) -> PairFiles:
        return self.user("admin")

    @property
    def scheduler(self) -> PairFiles:
        return self.user("scheduler")

    @property
    def controllers(self) -> PairFiles:
        return self.user("controllers")

    def user(self, name: str) -> PairFiles:
        """`admin`, `scheduler`, `controllers`, or a name from `ClusterNames.extra`."""
        return PairFiles.at(self.directory / "users" / name)

    def node_client(self, node: str) -> PairFiles:
        """What the node's kubelet shows to the API server."""
        return PairFiles.at(self.directory / "nodes" / node / "client")

    def node_serving(self, node: str) -> PairFiles:
        """What the node's kubelet serves logs and exec with."""
        return PairFiles.at(self.directory / "nodes" / node / "serving")


def node_user(node: str) -> Profile:
    """A kubelet's identity: user `system:node:NAME`, group `system:nodes`."""
    return client(f"system:node:{node}", ("system:nodes",))


KUBELET_CLIENT_USER = "kube-apiserver-kubelet-client"
"""The user that the API server is to kubelets; bound to role system:kubelet-api-admin."""

_USERS = {
    "admin": client("kubernetes-admin", ("system:masters",)),
    "scheduler": client("system:kube-scheduler"),
    "controllers": client("system:kube-controller-manager"),
}
_LOOPBACK = ("127.0.0.1", "::1")


def ensure_cluster_pki(directory: Path, names: ClusterNames, clock: Clock) -> ClusterPki:
    """Makes what is missing, damaged or about to expire; leaves the rest. Cheap when all is there.

    Raises: PkiError when an authority's files are damaged; OSError when they cannot be written.
    """
    pki, now = ClusterPki(directory), clock.now()
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)

    ca = ensure_ca(pki.ca, "kubernetes", now)
    ensure_leaf(pki.apiserver, ca, _apiserver(names), now)
    ensure_leaf(pki.apiserver_kubelet_client, ca, client(KUBELET_CLIENT_USER), now)
    for user, profile in {**_USERS, **names.extra}.items():
        ensure_leaf(pki.user(user), ca, profile, now)
    for node in names.nodes:
        ensure_leaf(pki.node_client(node.name), ca, node_user(node.name), now)
        ensure_leaf(pki.node_serving(node.name), ca, _node_serving(node), now)

    etcd_ca = ensure_ca(pki.etcd_ca, "etcd-ca", now)
    ensure_leaf(pki.etcd_server, etcd_ca, _etcd_server(names), now)
    ensure_leaf(pki.apiserver_etcd_client, etcd_ca, client("kube-apiserver-etcd-client"), now)
    ensure_signing_key(pki.service_account_key, pki.service_account_public_key)
    return pki


def _apiserver(names: ClusterNames) -> Profile:
    dns = (
        "localhost",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        f"kubernetes.default.svc.{names.cluster_domain}",
        *names.apiserver_dns_names,
    )
    ips = (*_LOOPBACK, names.service_ip, *names.apiserver_ips)
    return serving("kube-apiserver", _unique(dns), _unique(ips))


def _node_serving(node: NodeNames) -> Profile:
    dns = _unique((node.name, "localhost", *node.dns_names))
    ips = _unique((*_LOOPBACK, *node.ips))
    return serving(f"system:node:{node.name}", dns, ips, ("system:nodes",))


def _etcd_server(names: ClusterNames) -> Profile:
    # etcd's gateway calls its own server with this certificate: it is a client's as well.
    ips = _unique((*_LOOPBACK, *names.etcd_ips))
    return Profile("etcd", (), ("localhost",), ips, server=True, client=True)


def _unique(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))
