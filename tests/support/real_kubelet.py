"""Kubernetes' own kubelet as a node of a podpath cluster, on our shim. Only where it was built."""

import os
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import yaml

from podpath.component_base import binaries, pki
from podpath.component_base.clock import SystemClock
from tests.support import programs
from tests.support.cluster import Cluster
from tests.support.shim_process import ShimProcess

NODE = "real-1"
CGROUP_ROOT = "/podpath-real-kubelet"
"""It ends what it finds in cgroups of Pods that it does not know: not in other clusters'."""
_SET_FOR_THE_WHOLE_MACHINE = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)


@contextmanager
def running_kubelet(root: Path, cluster: Cluster, shim: ShimProcess) -> Iterator[None]:
    """Runs while the block does; what it changes of the machine is put back."""
    address = _own_address()
    config = root / "kubelet.yaml"
    config.write_text(yaml.safe_dump(_config(root, cluster, shim, address)))
    argv = (
        binaries.find("kubelet"),
        f"--config={config}",
        f"--kubeconfig={cluster.layout.kubeconfig}",
        f"--root-dir={root / 'kubelet'}",
        f"--cert-dir={root / 'certificates'}",
        f"--hostname-override={NODE}",
        f"--node-ip={address}",
    )
    _make_cgroups()
    with _sysctls_kept():
        try:
            with programs.running(argv, root / "kubelet.log"):
                yield
        finally:
            _unmount_below(root / "kubelet")
            _remove_cgroups()


def _config(root: Path, cluster: Cluster, shim: ShimProcess, address: str) -> Mapping[str, object]:
    names = pki.NodeNames(NODE, ips=(address,))
    made = pki.ensure_cluster_pki(
        cluster.layout.pki, pki.ClusterNames(nodes=(names,)), SystemClock()
    )
    serving = made.node_serving(NODE)
    with socket.socket() as probe:
        probe.bind((address, 0))
        port = probe.getsockname()[1]
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": shim.endpoint,
        "imageServiceEndpoint": shim.endpoint,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": CGROUP_ROOT,
        "oomScoreAdj": 0,
        "failSwapOn": False,
        "port": port,
        "healthzPort": 0,
        "podLogsDir": str(root / "pod-logs"),
        "volumePluginDir": str(root / "plugins"),
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": False},
            "x509": {"clientCAFile": str(made.ca.certificate)},
        },
        "authorization": {"mode": "AlwaysAllow"},
        "tlsCertFile": str(serving.certificate),
        "tlsPrivateKeyFile": str(serving.key),
        "enforceNodeAllocatable": [],
        "evictionHard": {"memory.available": "1Mi", "nodefs.available": "1%"},
        "localStorageCapacityIsolation": False,
        "makeIPTablesUtilChains": False,
    }


def _own_address() -> str:
    """An address that is not loopback: the kubelet takes no other. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        address: str = probe.getsockname()[0]
    return address


@contextmanager
def _sysctls_kept() -> Iterator[None]:
    files = [Path("/proc/sys", name) for name in _SET_FOR_THE_WHOLE_MACHINE]
    before = {path: path.read_text() for path in files if path.exists()}
    try:
        yield
    finally:
        for path, text in before.items():
            if path.read_text() != text:
                path.write_text(text)


def _unmount_below(directory: Path) -> None:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [line.split(" ")[4] for line in lines]
    below = [p for p in points if p == str(directory) or p.startswith(f"{directory}/")]
    for point in sorted(below, reverse=True):
        subprocess.run(["umount", "--lazy", point], check=False)


def _make_cgroups() -> None:
    """Its root, in every hierarchy."""
    mounted = Path("/sys/fs/cgroup")
    unified = (mounted / "cgroup.controllers").exists()
    for hierarchy in [mounted] if unified else mounted.iterdir():
        if hierarchy.is_dir() and not hierarchy.is_symlink():
            (hierarchy / CGROUP_ROOT.lstrip("/")).mkdir(exist_ok=True)


def _remove_cgroups() -> None:
    """All below its root, as far as they are empty."""
    for directory, _, _ in os.walk("/sys/fs/cgroup", topdown=False):
        if CGROUP_ROOT in directory:
            with suppress(OSError):
                os.rmdir(directory)
