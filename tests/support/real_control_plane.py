"""Kubernetes' own scheduler and controller manager on a podpath cluster, where they were built."""

from collections.abc import Iterator
from contextlib import contextmanager

import yaml

from podpath.cli import network
from podpath.component_base import binaries, pki
from podpath.component_base.clock import SystemClock
from tests.support import programs
from tests.support.cluster import Cluster


@contextmanager
def running_scheduler(cluster: Cluster) -> Iterator[None]:
    """Its configuration as anybody would write it, but for the port."""
    config = cluster.layout.directory / "kube-scheduler.yaml"
    tree = {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "clientConnection": {"kubeconfig": str(cluster.layout.kubeconfig)},
    }
    config.write_text(yaml.safe_dump(tree))
    with _running(cluster, "kube-scheduler", f"--config={config}"):
        yield


@contextmanager
def running_controller_manager(cluster: Cluster) -> Iterator[None]:
    """With the flags that kubeadm gives it: an identity for each controller, and signing keys."""
    files = pki.ensure_cluster_pki(
        cluster.layout.pki,
        pki.ClusterNames(nodes=tuple(pki.NodeNames(n.name) for n in cluster.state.nodes)),
        SystemClock(),
    )
    flags = (
        f"--kubeconfig={cluster.layout.kubeconfig}",
        "--use-service-account-credentials=true",
        f"--root-ca-file={files.ca.certificate}",
        f"--service-account-private-key-file={files.service_account_key}",
        f"--cluster-signing-cert-file={files.ca.certificate}",
        f"--cluster-signing-key-file={files.ca.key}",
        "--controllers=*,bootstrapsigner,tokencleaner",
    )
    with _running(cluster, "kube-controller-manager", *flags):
        yield


@contextmanager
def _running(cluster: Cluster, program: str, *flags: str) -> Iterator[None]:
    (port,) = network.free_ports(1)
    own = f"kubeconfig={cluster.layout.kubeconfig}"
    argv = (
        *(binaries.find(program), *flags, "--bind-address=127.0.0.1", f"--secure-port={port}"),
        *(f"--authentication-{own}", f"--authorization-{own}"),
    )
    with programs.running(argv, cluster.layout.log(program)):
        yield
