"""A Pod's network: CNI plugins called directly, as libcni would, for one bridge on each node.

    bridge + host-local   an address from the Pod CIDR, default route over the bridge
    portmap               only for Pods with host ports
    one iptables rule     masquerades what leaves the Pod network: one for the node, not one a Pod

nerdctl can do the same behind an OCI hook, in 90 ms a Pod; this takes 15.
Source: the CNI specification 1.0.0.
"""

import asyncio
import contextlib
import hashlib
import ipaddress
import json
import os
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from protos.cri import runtime_v1_pb2 as cri
from runtime_shim import command
from runtime_shim.errors import Code, CriError, invalid
from runtime_shim.turns import Rank, Turns

INTERFACE = "eth0"
CNI_VERSION = "1.0.0"
PLUGINS = ("bridge", "host-local", "portmap")
_PROTOCOLS = {cri.TCP: "tcp", cri.UDP: "udp", cri.SCTP: "sctp"}


@dataclass(frozen=True, slots=True)
class Attachment:
    """One Pod's place in the network. `cidr` is the range at the time it was made."""

    sandbox_id: str
    namespace: str
    cidr: str
    ports: tuple[tuple[int, int, str, str], ...] = ()  # host port, container port, protocol, IP


class PodNetwork:
    """One node's Pod network."""

    def __init__(self, state_dir: Path, cni_path: str, bridge: str, turns: Turns) -> None:
        self._state_dir = state_dir
        self._cni_path = cni_path
        digest = hashlib.sha256(str(state_dir).encode()).hexdigest()[:8]
        self._bridge = bridge or f"pp{digest}"
        self.cidr = ""
        self.inside = ""  # what is never masqueraded; empty: the range itself
        self._ready = asyncio.Lock()
        self._masqueraded = ""
        self._turns = turns

    def problem(self) -> str:
        """Why no Pod can be connected; "" when all is well."""
        missing = [p for p in PLUGINS if not os.access(os.path.join(self._cni_path, p), os.X_OK)]
        if missing:
            return f"CNI plugins {', '.join(missing)} are missing in {self._cni_path}"
        return "" if self.cidr else "no Pod CIDR is set"

    def set_cidr(self, cidr: str) -> None:
        """Raises: CriError INVALID_ARGUMENT."""
        try:
            self.cidr = str(ipaddress.ip_network(cidr, strict=False))
        except ValueError as error:
            raise invalid(f"pod CIDR {cidr!r}: {error}") from None

    async def attach(self, attachment: Attachment) -> tuple[str, ...]:
        """Connects a namespace; its addresses. On failure nothing is left. Raises: CriError."""
        await self._masquerade(attachment.cidr)
        try:
            async with self._turns.turn(Rank.SANDBOX):
                result = await self._plugin("ADD", attachment, self._bridge_config(attachment.cidr))
                if attachment.ports:
                    config = self._portmap_config(attachment) | {"prevResult": result}
                    await self._plugin("ADD", attachment, config)
        except BaseException:
            with contextlib.suppress(CriError):
                await asyncio.shield(self.detach(attachment))
            raise
        return tuple(ip["address"].partition("/")[0] for ip in result["ips"])

    async def detach(self, attachment: Attachment) -> None:
        """Frees the address and the ports. Idempotent; the namespace may be gone."""
        if attachment.ports:
            await self._plugin("DEL", attachment, self._portmap_config(attachment))
        await self._plugin("DEL", attachment, self._bridge_config(attachment.cidr))

    async def remove(self) -> None:
        """Removes the node's rules and its bridge. No namespace may be connected any more."""
        for table, chain, rule in self._rules(self.cidr):
            await command.run(["iptables", "-w", "5", "-t", table, "-D", chain, *rule])
        await command.run(["ip", "link", "delete", self._bridge])

    async def _masquerade(self, cidr: str) -> None:
        """The node's one rule, and forwarding in and out of the bridge; made once."""
        async with self._ready:
            if self._masqueraded == cidr:
                return
            if taken := taken_by(cidr, self._bridge, Path("/proc/net/route").read_text()):
                raise CriError(
                    Code.FAILED_PRECONDITION,
                    f"Pod CIDR {cidr} overlaps with a network on interface {taken}",
                )
            for table, chain, rule in self._rules(cidr):
                head = ["iptables", "-w", "5", "-t", table]
                there = await command.run([*head, "-C", chain, *rule])
                if there.code != 0:
                    await command.must([*head, "-I", chain, "1", *rule])
            self._masqueraded = cidr

    def _rules(self, cidr: str) -> list[tuple[str, str, list[str]]]:
        """(table, chain, rule) of each iptables rule of the node."""
        comment = ["-m", "comment", "--comment", f"podpath {self._bridge}"]
        return [
            (
                "nat",
                "POSTROUTING",
                ["-s", cidr, "!", "-d", self.inside or cidr, *comment, "-j", "MASQUERADE"],
            ),
            ("filter", "FORWARD", ["-i", self._bridge, *comment, "-j", "ACCEPT"]),
            ("filter", "FORWARD", ["-o", self._bridge, *comment, "-j", "ACCEPT"]),
        ]

    def _bridge_config(self, cidr: str) -> dict[str, Any]:
        return {
            "cniVersion": CNI_VERSION,
            "name": f"podpath-{self._bridge}",
            "type": "bridge",
            "bridge": self._bridge,
            "isGateway": True,
            "forceAddress": True,  # the Pod CIDR may have changed since the bridge was made
            "hairpinMode": True,
            "ipam": {
                "type": "host-local",
                "dataDir": str(self._state_dir / "ipam"),
                "ranges": [[{"subnet": cidr}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }

    def _portmap_config(self, attachment: Attachment) -> dict[str, Any]:
        mappings = [
            {"hostPort": host, "containerPort": inside, "protocol": protocol}
            | ({"hostIP": ip} if ip else {})
            for host, inside, protocol, ip in attachment.ports
        ]
        return {
            "cniVersion": CNI_VERSION,
            "name": f"podpath-{self._bridge}",
            "type": "portmap",
            "snat": True,
            "runtimeConfig": {"portMappings": mappings},
        }

    async def _plugin(
        self, operation: str, attachment: Attachment, config: dict[str, Any]
    ) -> dict[str, Any]:
        gone = operation == "DEL" and not is_mounted(attachment.namespace)
        finished = await command.run(
            [os.path.join(self._cni_path, config["type"])],
            stdin=json.dumps(config).encode(),
            environment={
                "CNI_COMMAND": operation,
                "CNI_CONTAINERID": attachment.sandbox_id,
                "CNI_NETNS": "" if gone else attachment.namespace,
                "CNI_IFNAME": INTERFACE,
                "CNI_PATH": self._cni_path,
            },
        )
        if finished.code != 0:
            message = _error_of(finished)
            raise CriError(Code.UNKNOWN, f"CNI {config['type']} {operation}: {message}")
        tree: dict[str, Any] = json.loads(finished.stdout) if finished.stdout.strip() else {}
        return tree


def taken_by(cidr: str, own: str, routes: str) -> str:
    """The interface that already leads to a part of `cidr`, or "". `routes`: /proc/net/route."""
    wanted = ipaddress.ip_network(cidr)
    for line in routes.splitlines()[1:]:
        interface, destination, *_, mask = line.split()[:8]
        if interface == own or mask == "00000000":
            continue
        network = ipaddress.ip_network(f"{_address(destination)}/{_address(mask)}", strict=False)
        if wanted.overlaps(network):
            return interface
    return ""


def _address(text: str) -> str:
    """Eight hex digits in the machine's order, as the kernel prints them."""
    return socket.inet_ntoa(int(text, 16).to_bytes(4, sys.byteorder))


def is_mounted(namespace: str) -> bool:
    """Whether the namespace is still there: a reboot leaves only the file it was mounted on."""
    try:
        return os.stat(namespace).st_dev != os.stat(os.path.dirname(namespace)).st_dev
    except FileNotFoundError:
        return False


def host_ports(config: cri.PodSandboxConfig) -> tuple[tuple[int, int, str, str], ...]:
    """The mappings that reserve a port of the node."""
    return tuple(
        (m.host_port, m.container_port, _PROTOCOLS.get(m.protocol, "tcp"), m.host_ip)
        for m in config.port_mappings
        if m.host_port > 0
    )


def resolv_conf(dns: cri.DNSConfig, node: str) -> str:
    """The Pod's resolver file; the node's own without a DNS config."""
    if not dns.ListFields():
        return node
    lines = []
    if dns.searches:
        lines.append(f"search {' '.join(dns.searches)}")
    lines += [f"nameserver {server}" for server in dns.servers]
    if dns.options:
        lines.append(f"options {' '.join(dns.options)}")
    return "".join(f"{line}\n" for line in lines)


def hosts(hostname: str, ips: Sequence[str]) -> str:
    """/etc/hosts for containers whose caller mounts none."""
    lines = ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback"]
    lines += [f"{ip}\t{hostname}" for ip in ips if hostname]
    return "".join(f"{line}\n" for line in lines)


def node_hostname() -> str:
    return socket.gethostname()


def _error_of(finished: command.Finished) -> str:
    """A plugin says what is wrong as JSON on standard output."""
    try:
        tree = json.loads(finished.stdout)
        return " ".join(filter(None, (tree.get("msg", ""), tree.get("details", ""))))
    except (ValueError, AttributeError):
        return finished.complaint()
