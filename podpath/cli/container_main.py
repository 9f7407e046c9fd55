"""`python3 -m podpath.cli.container_main control-plane|node`: what a container of a cluster runs.

Settings come from the environment: PODPATH_RUNTIME, PODPATH_NODE_NAME, PODPATH_JOIN_FROM (a file
to wait for), PODPATH_JOIN_TO (where the control plane writes it), PODPATH_LOG_LEVEL,
PODPATH_NODE_MONITOR_GRACE_PERIOD and PODPATH_CLUSTER_SIGNING_DURATION (as the flags: 20s).
"""

import contextlib
import os
import socket
import subprocess
import sys
from pathlib import Path

from podpath.cli import container_services as services
from podpath.cli.supervisor import Service, Supervisor

_CGROUP = Path("/sys/fs/cgroup")
_NERDCTL_CONFIG = Path("/etc/nerdctl/nerdctl.toml")
_LIMIT_FILES = (
    "cpu.max",
    "memory.max",
    "cpu/cpu.cfs_quota_us",
    "cpu/cpu.cfs_period_us",
    "memory/memory.limit_in_bytes",
)


def main() -> int:
    role = sys.argv[1] if len(sys.argv) == 2 else ""
    for directory in (services.RUN, services.ETC, services.DATA, services.LOGS):
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    if role == "control-plane":
        subprocess.run((sys.executable, "-m", "podpath.cli.control_plane_boot"), check=True)
        return Supervisor(_control_plane, services.LOGS).run()
    if role == "node":
        prepare_node()
        return Supervisor(_node, services.LOGS).run()
    print("container_main: expected control-plane or node", file=sys.stderr)
    return 2


def _control_plane() -> list[Service]:
    settings = services.ControlPlane(
        node_monitor_grace_period=_env("NODE_MONITOR_GRACE_PERIOD"),
        cluster_signing_duration=_env("CLUSTER_SIGNING_DURATION"),
        log_level=_env("LOG_LEVEL") or "info",
    )
    found = services.control_plane(settings)
    if target := _env("JOIN_TO"):
        python, admin = sys.executable, services.ADMIN
        script = (
            f"umask 077; {python} -m podpath.cli.join_token --kubeconfig={admin} "
            f"--server=$(hostname -i) > {target}.tmp && mv {target}.tmp {target}"
        )
        found.append(Service("join-token", ("/bin/sh", "-c", script), once=True))
    return found


def _node() -> list[Service]:
    cpus, memory = services.limits(
        [(Path(name).name, _text(_CGROUP / name)) for name in _LIMIT_FILES]
    )
    settings = services.NodeSettings(
        name=_env("NODE_NAME") or socket.gethostname(),
        runtime=_text(services.RUNTIME).strip() or _env("RUNTIME") or "nerdctl",
        cpus=cpus,
        memory_bytes=memory,
        join_from=_env("JOIN_FROM"),
        log_level=_env("LOG_LEVEL") or "info",
    )
    return services.node(settings)


def prepare_node() -> None:
    """Makes the container fit to run containers inside: writable cgroups, own configuration."""
    mounts = [line.split()[1] for line in _text(Path("/proc/self/mounts")).splitlines()]
    for mount in mounts:
        if mount == "/sys" or mount.startswith(f"{_CGROUP}"):
            _run("mount", "-o", "remount,bind,rw", mount)
    _run("mount", "--make-rshared", "/")
    if (_CGROUP / "cgroup.controllers").exists():
        _nest_cgroups()
    (services.ETC / "containerd.toml").write_text(services.CONTAINERD_CONFIG)
    _NERDCTL_CONFIG.parent.mkdir(exist_ok=True)
    _NERDCTL_CONFIG.write_text(services.NERDCTL_CONFIG)
    resolv = services.pod_resolv_conf(_text(Path("/etc/resolv.conf")))
    (services.ETC / "resolv.conf").write_text(resolv)
    for forward in ("ipv4/ip_forward", "ipv4/conf/all/forwarding"):
        with contextlib.suppress(OSError):  # read-only where the engine has set it already
            Path("/proc/sys/net", forward).write_text("1")


def _nest_cgroups() -> None:
    """cgroup v2 delegates only from groups without processes: ours move one level down."""
    own = _CGROUP / "podpath"
    own.mkdir(exist_ok=True)
    for pid in _text(_CGROUP / "cgroup.procs").split():
        with contextlib.suppress(OSError):
            (own / "cgroup.procs").write_text(pid)
    for controller in _text(_CGROUP / "cgroup.controllers").split():
        with contextlib.suppress(OSError):
            (_CGROUP / "cgroup.subtree_control").write_text(f"+{controller}")


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print(f"{' '.join(argv)}: {done.stderr.strip()}", flush=True)


def _env(name: str) -> str:
    return os.environ.get(f"PODPATH_{name}", "")


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


if __name__ == "__main__":
    sys.exit(main())
