"""Which processes the two kinds of container consist of, and with which flags. Pure.

Everything that is kept lies on the volume /var/lib/podpath; sockets are on /run, a tmpfs.
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from podpath.cli.supervisor import Service

DATA = Path("/var/lib/podpath")
RUN = Path("/run/podpath")
ETC = Path("/etc/podpath")
LOGS = Path("/var/log/podpath")
POD_LOGS = DATA / "pod-logs"
IMAGES = Path("/usr/share/podpath/images")

POD_CIDR = "10.244.0.0/16"
SERVICE_CIDR = "10.96.0.0/16"
HTTPS_PORT, GRPC_PORT, TOKEN_PORT = 6443, 6444, 6445
CONTAINERD = "/run/containerd/containerd.sock"
NAMESPACE = "podpath"

BOOTSTRAP = ETC / "bootstrap.kubeconfig"
CLIENT_CA = ETC / "ca.crt"
RUNTIME = DATA / "runtime"
"""Holds the name of the node's runtime; `podpath cluster node runtime` changes it."""
RUNTIME_NOW = RUN / "runtime"
"""The same, once the shim of the runtime before has ended and nothing of its Pods is left."""
ADMIN = DATA / "kubeconfigs" / "admin"

RUNTIME_NODE_LABEL = "podpath.io/runtime"
"""A label of the Node. As a flag it makes the kubelet start anew when the runtime is swapped."""

_PYTHON = "/usr/bin/python3"


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """What can be set from outside: the controllers' flags of these names; empty: their default."""

    node_monitor_grace_period: str = ""
    cluster_signing_duration: str = ""
    log_level: str = "info"


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """`cpus` and `memory_bytes` are the container's limits; 0: none."""

    name: str
    runtime: str
    cpus: float = 0.0
    memory_bytes: int = 0
    join_from: str = ""
    log_level: str = "info"


def _module(name: str, *flags: str, log_level: str) -> tuple[str, ...]:
    return (_PYTHON, "-m", name, *flags, f"--log-level={log_level}", _diagnostics(name))


def _diagnostics(name: str) -> str:
    return f"--diagnostics-socket={RUN}/{name.replace('_', '-')}-diag.sock"


def control_plane(settings: ControlPlane) -> list[Service]:
    pki = DATA / "pki"
    level = settings.log_level
    apiserver = _module(
        "apiserver",
        "--etcd-servers=http://127.0.0.1:2379",
        f"--secure-port={HTTPS_PORT}",
        f"--grpc-port={GRPC_PORT}",
        f"--grpc-token-port={TOKEN_PORT}",
        "--enable-bootstrap-token-auth",
        f"--client-ca-file={pki}/ca.crt",
        f"--tls-cert-file={pki}/apiserver.crt",
        f"--tls-private-key-file={pki}/apiserver.key",
        f"--kubelet-certificate-authority={pki}/ca.crt",
        f"--kubelet-client-certificate={pki}/apiserver-kubelet-client.crt",
        f"--kubelet-client-key={pki}/apiserver-kubelet-client.key",
        f"--service-account-key-file={pki}/sa.pub",
        f"--service-account-signing-key-file={pki}/sa.key",
        f"--service-cluster-ip-range={SERVICE_CIDR}",
        log_level=level,
    )
    scheduler = _module("scheduler", f"--kubeconfig={DATA}/kubeconfigs/scheduler", log_level=level)
    flags = [
        f"--kubeconfig={DATA}/kubeconfigs/controllers",
        f"--root-ca-file={pki}/ca.crt",
        f"--cluster-signing-cert-file={pki}/ca.crt",
        f"--cluster-signing-key-file={pki}/ca.key",
        "--allocate-node-cidrs",
        f"--cluster-cidr={POD_CIDR}",
    ]
    if settings.node_monitor_grace_period:
        flags.append(f"--node-monitor-grace-period={settings.node_monitor_grace_period}")
    if settings.cluster_signing_duration:
        flags.append(f"--cluster-signing-duration={settings.cluster_signing_duration}")
    return [
        Service("etcd", _etcd()),
        Service("apiserver", apiserver),
        Service("scheduler", scheduler),
        Service("controllers", _module("controllers", *flags, log_level=level)),
    ]


def _etcd() -> tuple[str, ...]:
    """On loopback inside the container; nobody else gets there."""
    return (
        "/usr/local/bin/etcd",
        "--name=podpath",
        f"--data-dir={DATA}/etcd",
        "--listen-client-urls=http://127.0.0.1:2379",
        "--advertise-client-urls=http://127.0.0.1:2379",
        "--listen-peer-urls=http://127.0.0.1:2380",
        "--initial-advertise-peer-urls=http://127.0.0.1:2380",
        "--initial-cluster=podpath=http://127.0.0.1:2380",
        "--snapshot-count=10000",
        "--log-level=warn",
    )


def node(settings: NodeSettings) -> list[Service]:
    services: list[Service] = []
    if settings.join_from:
        file = settings.join_from
        script = f"until [ -s {file} ]; do sleep 0.2; done; podpath-join < {file}"
        services.append(Service("join", ("/bin/sh", "-c", script), once=True))
    needs: tuple[str, ...] = ()
    if settings.runtime == "nerdctl":
        config = ETC / "containerd.toml"
        loaded = RUN / "images-loaded"
        services += [
            Service("containerd", ("/usr/bin/containerd", "--config", str(config))),
            Service("images", ("/bin/sh", "-c", load_script(loaded)), (CONTAINERD,), once=True),
        ]
        needs = (CONTAINERD, str(loaded))
    return [
        *services,
        Service("runtime", ("/bin/sh", "-c", arrive_script(settings)), once=True),
        Service("runtime-shim", _shim(settings.runtime, settings.log_level), needs),
        Service("kubelet", _kubelet(settings), _kubelet_needs()),
    ]


def _kubelet_needs() -> tuple[str, ...]:
    return (f"{RUN}/cri.sock", str(BOOTSTRAP), str(CLIENT_CA))


def load_script(loaded: Path) -> str:
    """Loads the images that the node's image brings, unless they are there from before."""
    return (
        f"[ -e {DATA}/images-loaded ] || for image in {IMAGES}/*.tar; do "
        f'nerdctl load -q -i "$image" || exit 1; done; '
        f"touch {DATA}/images-loaded {loaded}"
    )


def arrive_script(settings: NodeSettings) -> str:
    """Another runtime knows nothing of real containers: they are removed when it takes over."""
    leave = ":"
    if settings.runtime != "nerdctl":
        shim = shlex.join((*_shim("nerdctl", settings.log_level), "--teardown"))
        leave = f"if [ -S {CONTAINERD} ]; then {shim}; fi"
    return f"{leave} && echo {settings.runtime} > {RUNTIME_NOW}"


def _shim(runtime: str, log_level: str) -> tuple[str, ...]:
    return _module(
        "runtime_shim",
        f"--listen=unix://{RUN}/cri.sock",
        f"--backend={runtime}",
        f"--state-dir={DATA}/shim-{runtime}",
        "--pod-cidr=",
        f"--non-masquerade-cidr={POD_CIDR}",
        f"--containerd-address={CONTAINERD}",
        f"--containerd-namespace={NAMESPACE}",
        log_level=log_level,
    )


def _kubelet(settings: NodeSettings) -> tuple[str, ...]:
    flags = [
        f"--kubeconfig={DATA}/kubelet.kubeconfig",
        f"--bootstrap-kubeconfig={BOOTSTRAP}",
        f"--cert-dir={DATA}/kubelet-pki",
        "--rotate-server-certificates",
        f"--client-ca-file={CLIENT_CA}",
        f"--container-runtime-endpoint=unix://{RUN}/cri.sock",
        f"--hostname-override={settings.name}",
        f"--root-dir={DATA}/kubelet",
        f"--pod-logs-dir={POD_LOGS}",
        f"--resolv-conf={ETC}/resolv.conf",
        "--pod-routes",
        f"--node-labels={RUNTIME_NODE_LABEL}={settings.runtime}",
    ]
    if settings.cpus:
        flags.append(f"--node-cpus={settings.cpus:g}")
    if settings.memory_bytes:
        flags.append(f"--node-memory={settings.memory_bytes // 1024}Ki")
    return _module("kubelet", *flags, log_level=settings.log_level)


CONTAINERD_CONFIG = f"""version = 2
root = "{DATA}/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.grpc.v1.cri"]

[grpc]
  address = "{CONTAINERD}"

[debug]
  level = "warn"
"""


NERDCTL_CONFIG = f"""address = "{CONTAINERD}"
namespace = "{NAMESPACE}"
"""
"""So that `nerdctl` in a node, without flags, shows the Pods' containers."""


def pod_resolv_conf(text: str) -> str:
    """The node's resolv.conf without name servers on its loopback: Pods cannot reach those."""
    kept = [
        line
        for line in text.splitlines()
        if line.split()[:1] != ["nameserver"] or not line.split()[1].startswith("127.")
    ]
    return "".join(f"{line}\n" for line in kept)


def limits(files: Sequence[tuple[str, str]]) -> tuple[float, int]:
    """(processors, bytes of memory) that cgroup files allow; 0 where there is no limit.

    `files` are (name, content): cpu.max, memory.max of v2, cpu.cfs_quota_us, cpu.cfs_period_us,
    memory.limit_in_bytes of v1.
    """
    found = {name: content.split() for name, content in files if content.split()}
    cpus, memory = 0.0, 0
    if found.get("cpu.max", ["max"])[0] != "max":
        quota, period = found["cpu.max"]
        cpus = int(quota) / int(period)
    elif int(found.get("cpu.cfs_quota_us", ["-1"])[0]) > 0:
        cpus = int(found["cpu.cfs_quota_us"][0]) / int(found["cpu.cfs_period_us"][0])
    for name in ("memory.max", "memory.limit_in_bytes"):
        text = found.get(name, ["max"])[0]
        if text != "max" and int(text) < 1 << 60:  # v1 tells a number near 2^63 for no limit
            memory = int(text)
    return cpus, memory
