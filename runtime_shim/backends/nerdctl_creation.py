"""What a container to be made needs of this node: files, namespaces of other processes, cgroups."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from protos.cri import runtime_v1_pb2 as cri
from runtime_shim.backends import nerdctl_argv, nerdctl_security, nerdctl_spec
from runtime_shim.backends.nerdctl_exits import Exits
from runtime_shim.backends.nerdctl_sandboxes import SandboxDirectories
from runtime_shim.backends.oci_runtime import Spec
from runtime_shim.errors import Code, CriError, invalid, precondition
from runtime_shim.node_facts import NodeFacts
from runtime_shim.state import SandboxRecord


@dataclass(frozen=True, slots=True)
class Plan:
    """`edits` and `cgroup` are of the container's id, which nerdctl gives."""

    creation: nerdctl_argv.Creation
    edits: Callable[[str], Spec]
    cgroup: Callable[[str], str]


class Planner:
    """Plans containers; makes nothing but missing directories of mounts."""

    def __init__(self, sandboxes: SandboxDirectories, exits: Exits, namespace: str) -> None:
        self._sandboxes = sandboxes
        self._exits = exits
        self.own_cgroup = f"/{namespace}"  # of containers whose Pod names none

    def container(
        self,
        sandbox: SandboxRecord,
        config: cri.ContainerConfig,
        image: str,
        image_config: Mapping[str, Any],
        facts: NodeFacts,
    ) -> Plan:
        """Raises: CriError for what this node cannot do."""
        context = config.linux.security_context
        added = context.capabilities.add_capabilities
        creation = nerdctl_argv.Creation(
            name=nerdctl_argv.container_name(sandbox.id, sandbox.config, config),
            labels=nerdctl_argv.labels(sandbox.id, nerdctl_argv.ROLE_CONTAINER, config.labels),
            image=image,
            arguments=nerdctl_spec.arguments(config, image_config),
            user=nerdctl_security.user(context),
            working_dir=config.working_dir,
            hostname=sandbox.config.hostname,
            added_capabilities=[c for c in added if c.upper() != "ALL"],
        )
        cgroup = self._cgroups_below(sandbox.config.linux.cgroup_parent)
        request = nerdctl_spec.Request(
            config=config,
            sandbox=sandbox.config,
            paths=self._sandboxes.paths(sandbox.id, sandbox.config, self._shared_pid(sandbox)),
            facts=facts,
            cgroup_path="",
            target_pid=self._target_pid(sandbox, config),
            seccomp=_local_seccomp(context),
        )
        nerdctl_spec.edits(request)  # refuses before anything is made
        request = replace(request, config=_with_real_paths(config))
        return Plan(
            creation, lambda i: nerdctl_spec.edits(replace(request, cgroup_path=cgroup(i))), cgroup
        )

    def pause(
        self,
        sandbox_id: str,
        config: cri.PodSandboxConfig,
        image: str,
        image_config: Mapping[str, Any],
    ) -> Plan:
        """Of the process that holds a shared PID namespace."""
        creation = nerdctl_argv.Creation(
            name=f"k8s_POD_{sandbox_id[:40]}",
            labels=nerdctl_argv.labels(sandbox_id, nerdctl_argv.ROLE_PAUSE, config.labels),
            image=image,
            arguments=nerdctl_spec.arguments(cri.ContainerConfig(), image_config),
        )
        paths = self._sandboxes.paths(sandbox_id, config, "")
        cgroup = self._cgroups_below(config.linux.cgroup_parent)
        return Plan(creation, lambda i: nerdctl_spec.pause_edits(paths, cgroup(i)), cgroup)

    def _cgroups_below(self, parent: str) -> Callable[[str], str]:
        base = parent.rstrip("/") or self.own_cgroup
        return lambda container_id: f"{base}/{container_id}"

    def _shared_pid(self, sandbox: SandboxRecord) -> str:
        pause = self._exits.running(sandbox.engine.get("pause", ""))
        return f"/proc/{pause.pid}/ns/pid" if pause else ""

    def _target_pid(self, sandbox: SandboxRecord, config: cri.ContainerConfig) -> str:
        options = config.linux.security_context.namespace_options
        if options.pid != cri.TARGET:
            return ""
        target = self._exits.running(options.target_id)
        if target is None or target.sandbox_id != sandbox.id:
            raise precondition(f"target container {options.target_id!r} does not run here")
        return f"/proc/{target.pid}/ns/pid"


def _with_real_paths(config: cri.ContainerConfig) -> cri.ContainerConfig:
    """Host paths without links, made where they are missing, as containerd does.

    Raises: CriError.
    """
    prepared = cri.ContainerConfig()
    prepared.CopyFrom(config)
    for mount in prepared.mounts:
        try:
            if not os.path.exists(mount.host_path):
                os.makedirs(mount.host_path, 0o755, exist_ok=True)
        except OSError as error:
            raise invalid(f"mount {mount.host_path!r}: {error.strerror}") from error
        mount.host_path = os.path.realpath(mount.host_path)
    return prepared


def _local_seccomp(context: cri.LinuxContainerSecurityContext) -> Spec | None:
    """The profile in a file of the node, if that kind is asked for. Raises: CriError."""
    profile = nerdctl_security.seccomp_profile(context)
    if profile.profile_type != cri.SecurityProfile.Localhost:
        return None
    path = profile.localhost_ref.removeprefix("localhost/")
    try:
        tree: Spec = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise CriError(Code.INVALID_ARGUMENT, f"seccomp profile {path!r}: {error}") from error
    return tree
