"""Pod sandboxes without a process: namespaces held by files, and a network made by CNI plugins.

    STATE_DIR/sandboxes/ID/   net ipc uts    what holds the namespaces
                              shm/           the Pod's /dev/shm
                              resolv.conf hosts hostname
                              network.json   what must be freed; written before it is taken

A pause container is only made for Pods whose containers share a PID namespace, because only that
kind of namespace cannot be without a process. See docs/adr/ for the measurements.
"""

import asyncio
import contextlib
import json
import os
import secrets
import shutil
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from protos.cri import runtime_v1_pb2 as cri
from runtime_shim import cgroups, namespaces, network
from runtime_shim.backends.nerdctl_spec import SandboxPaths
from runtime_shim.errors import Code, CriError, invalid, unimplemented
from runtime_shim.network import Attachment, PodNetwork
from runtime_shim.node_facts import NodeFacts
from runtime_shim.state import SandboxRecord

_CONNECTED = "network.json"


class SandboxDirectories:
    """Makes and unmakes what a sandbox consists of."""

    def __init__(self, state_dir: Path, pod_network: PodNetwork) -> None:
        self._root = state_dir / "sandboxes"
        self._network = pod_network

    def begin(self) -> None:
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)

    def new_id(self) -> str:
        return secrets.token_hex(32)

    async def make(self, sandbox_id: str, config: cri.PodSandboxConfig) -> tuple[str, ...]:
        """1. Note what will be taken. 2. Namespaces. 3. Network. 4. The Pod's files.

        Returns its addresses. On failure nothing is left. Raises: CriError.
        """
        directory = self._root / sandbox_id
        directory.mkdir(mode=0o700)
        try:
            options = config.linux.security_context.namespace_options
            own_network = options.network != cri.NODE
            attachment = Attachment(
                sandbox_id,
                str(directory / "net"),
                self._network.cidr,
                network.host_ports(config),
            )
            if own_network:
                (directory / _CONNECTED).write_text(json.dumps(asdict(attachment)))  # 1
            await asyncio.to_thread(self._make_namespaces, directory, config)  # 2
            ips = await self._network.attach(attachment) if own_network else ()  # 3
            self._write_files(directory, config, ips)  # 4
        except OSError as error:
            await self.unmake(sandbox_id)
            raise _from_os(error) from error
        except BaseException:
            with contextlib.suppress(CriError):
                await asyncio.shield(self.unmake(sandbox_id))
            raise
        return ips

    async def disconnect(self, sandbox_id: str) -> None:
        """Frees address and host ports. Idempotent.

        The note is renamed first: a shim that dies in the middle finds a sandbox that has begun
        to lose its network, not one that seems to have it.
        """
        note = self._root / sandbox_id / _CONNECTED
        going = note.with_name("network-going.json")
        with contextlib.suppress(FileNotFoundError):
            note.rename(going)
        try:
            tree = json.loads(going.read_text())
        except FileNotFoundError:
            return
        except ValueError:
            going.unlink()  # the shim died while writing it: nothing was taken yet
            return
        tree["ports"] = tuple(tuple(port) for port in tree["ports"])
        await self._network.detach(Attachment(**tree))
        going.unlink(missing_ok=True)

    async def unmake(self, sandbox_id: str) -> None:
        """Frees everything. Idempotent."""
        await self.disconnect(sandbox_id)
        directory = self._root / sandbox_id
        for name in ("net", "ipc", "uts", "shm"):
            namespaces.unmount(directory / name)
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)

    async def unmake_all_but(self, known: Iterable[str]) -> None:
        """Whatever a shim that was killed left half made or half removed."""
        for name in sorted(set(os.listdir(self._root)) - set(known)):
            await self.unmake(name)

    def alive(self, sandbox: SandboxRecord, mounted: set[str]) -> bool:
        """False if its namespaces are gone, as after a reboot, or its network was being freed.
        `mounted`: see `mounted`."""
        paths = self.paths(sandbox.id, sandbox.config, "")
        held = (paths.network, paths.ipc, paths.uts, paths.shm if paths.ipc else "")
        connected = not paths.network or (self._root / sandbox.id / _CONNECTED).exists()
        return connected and all(not path or path in mounted for path in held)

    def mounted(self) -> set[str]:
        return namespaces.mounted_below(self._root)

    def paths(self, sandbox_id: str, config: cri.PodSandboxConfig, pid: str) -> SandboxPaths:
        options = config.linux.security_context.namespace_options
        directory = self._root / sandbox_id
        own_network = options.network != cri.NODE
        own_ipc = options.ipc != cri.NODE
        return SandboxPaths(
            network=str(directory / "net") if own_network else "",
            ipc=str(directory / "ipc") if own_ipc else "",
            uts=str(directory / "uts") if own_network else "",
            pid=pid,
            shm=str(directory / "shm") if own_ipc else "/dev/shm",
            resolv_conf=str(directory / "resolv.conf"),
            hosts=str(directory / "hosts"),
            hostname=str(directory / "hostname"),
        )

    def _make_namespaces(self, directory: Path, config: cri.PodSandboxConfig) -> None:
        paths = self.paths(directory.name, config, "")
        namespaces.make(
            namespaces.NamespaceRequest(
                network=Path(paths.network) if paths.network else None,
                ipc=Path(paths.ipc) if paths.ipc else None,
                uts=Path(paths.uts) if paths.uts else None,
                hostname=config.hostname,
                sysctls=dict(config.linux.sysctls),
            )
        )
        if paths.ipc:
            (directory / "shm").mkdir()
            namespaces.mount_shm(directory / "shm")

    @staticmethod
    def _write_files(directory: Path, config: cri.PodSandboxConfig, ips: tuple[str, ...]) -> None:
        hostname = config.hostname or network.node_hostname()
        node_resolver = ""
        with contextlib.suppress(OSError):
            node_resolver = Path("/etc/resolv.conf").read_text()
        node_hosts = Path("/etc/hosts").read_text() if not ips else ""
        for name, text in (
            ("resolv.conf", network.resolv_conf(config.dns_config, node_resolver)),
            ("hosts", node_hosts or network.hosts(hostname, ips)),
            ("hostname", hostname + "\n"),
        ):
            path = directory / name
            path.write_text(text)
            path.chmod(0o644)


def refuse(config: cri.PodSandboxConfig, facts: NodeFacts) -> None:
    """What cannot be honoured is refused by its name. Raises: CriError."""
    if config.HasField("windows"):
        raise invalid("config.windows: this runtime runs Linux containers")
    if config.linux.cgroup_parent.endswith(".slice"):
        raise invalid("config.linux.cgroup_parent: this runtime has the cgroupfs driver")
    if len(config.hostname) > 64:
        raise invalid(f"config.hostname {config.hostname!r}: longer than 64 characters")
    context = config.linux.security_context
    if context.selinux_options.ListFields() and not facts.selinux:
        raise invalid("security_context.selinux_options: this node has no SELinux")
    options = context.namespace_options
    if options.HasField("userns_options") and options.userns_options.mode != cri.NODE:
        raise unimplemented("user namespaces: nerdctl has no mapping for one Pod")


def ignored(config: cri.PodSandboxConfig) -> dict[str, str]:
    """The fields that are set and have no effect, with the reason.

    The security context of a sandbox is that of its own process, and there is none.
    """
    why = "a sandbox has no process of its own, and the Pod's cgroup belongs to the kubelet"
    found = {}
    for name in ("overhead", "resources"):
        if config.linux.HasField(name):
            found[f"config.linux.{name}"] = why
    return found


def remove_cgroup(sandbox: SandboxRecord) -> None:
    """The Pod's own cgroup, once it is empty."""
    if parent := sandbox.config.linux.cgroup_parent:
        cgroups.remove_empty(parent)


def _from_os(error: OSError) -> CriError:
    if isinstance(error, PermissionError):
        return CriError(Code.INVALID_ARGUMENT, error.strerror or str(error))
    return CriError(Code.INTERNAL, f"sandbox: {error}")
