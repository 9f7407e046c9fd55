"""No field of a request is silently ignored: each has an effect, is refused, or is warned of.

The fields come from CRI's descriptors, so one that a newer CRI brings fails here until somebody
says what becomes of it.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from podpath.component_base.clock import FakeClock
from protos.cri import runtime_v1_pb2 as cri
from runtime_shim.backends import nerdctl_sandboxes, nerdctl_spec
from runtime_shim.backends.nerdctl_creation import Planner
from runtime_shim.backends.nerdctl_exits import Exits
from runtime_shim.backends.nerdctl_sandboxes import SandboxDirectories
from runtime_shim.errors import CriError
from runtime_shim.network import PodNetwork
from runtime_shim.turns import Turns
from tests.support.shims import container_config, sandbox, sandbox_config
from tests.unit.runtime_shim.test_nerdctl_spec import FACTS

ELSEWHERE = {
    # What the shim itself does with them; tests/contract/test_runtime_backends.py sees it.
    "image.image": "the image is found before the backend is asked",
    "image.user_specified_image": "shown in the status",
    "image.runtime_handler": "the sandbox's handler decides",
    "annotations": "shown in the status",
    "labels": "shown, selected by; the engine gets the few that a person needs",
    "log_path": "the log daemon's",
    "stdin_once": "the log daemon's",
    "stop_signal": "sent when it is stopped",
    # What they say holds for a sandbox as a whole and was done when it was made.
    "linux.security_context.namespace_options.network": "the sandbox's",
    "linux.security_context.namespace_options.ipc": "the sandbox's",
    # Part of something that is refused as a whole.
    "linux.security_context.namespace_options.userns_options.mode": "NODE is what there is",
    # Nothing to label on a node without SELinux; with it, see below.
    "mounts.selinux_relabel": "no SELinux",
    # Only where more is given; see test_nerdctl_spec.py.
    "mounts.image_sub_path": "of an image volume, which is refused",
    "linux.security_context.namespace_options.target_id": "of pid TARGET, which is",
    "linux.security_context.apparmor.localhost_ref": "of a Localhost profile",
    "linux.security_context.apparmor.profile_type": "Unconfined and the default are one here",
}
SANDBOX = {
    "metadata.name": "the sandbox's name",
    "metadata.uid": "the sandbox's name",
    "metadata.namespace": "the sandbox's name",
    "metadata.attempt": "the sandbox's name",
    "hostname": "UTS namespace and /etc/hostname",
    "log_directory": "before a container's log_path",
    "dns_config.servers": "resolv.conf",
    "dns_config.searches": "resolv.conf",
    "dns_config.options": "resolv.conf",
    "port_mappings.protocol": "portmap",
    "port_mappings.container_port": "portmap",
    "port_mappings.host_port": "portmap",
    "port_mappings.host_ip": "portmap",
    "labels": "shown, selected by",
    "annotations": "shown",
    "linux.cgroup_parent": "above the containers' cgroups",
    "linux.sysctls": "written into the namespaces",
    "linux.security_context.namespace_options.network": "which namespaces are made",
    "linux.security_context.namespace_options.ipc": "which namespaces are made",
    "linux.security_context.namespace_options.pid": "whether there is a pause container",
    "linux.security_context.namespace_options.target_id": "a container's matter",
    "linux.security_context.namespace_options.userns_options.mode": "NODE is what there is",
}
OF_ITS_PROCESS = {  # there is none
    f"linux.security_context.{name}"
    for name in (
        *("run_as_user", "run_as_group", "readonly_rootfs", "supplemental_groups", "privileged"),
        *("supplemental_groups_policy", "seccomp_profile_path"),
        *("seccomp.profile_type", "seccomp.localhost_ref"),
        *("apparmor.profile_type", "apparmor.localhost_ref"),
    )
}
FULL_FACTS = replace(FACTS, memory_swap=True, hugetlb=True, cgroup_v2=True)
SAMPLES: dict[str, Any] = {
    "devices.host_path": "/dev/zero",
    "linux.security_context.seccomp_profile_path": "runtime/default",
    "linux.security_context.apparmor_profile": "localhost/p",
    "linux.security_context.namespace_options.pid": cri.NODE,
    "linux.security_context.namespace_options.userns_options.mode": cri.NODE,
    "linux.security_context.supplemental_groups_policy": cri.Strict,
    "mounts.readonly": False,
    "linux.security_context.capabilities.drop_capabilities": "CHOWN",
    "linux.security_context.seccomp.profile_type": cri.SecurityProfile.RuntimeDefault,
    "mounts.propagation": cri.PROPAGATION_HOST_TO_CONTAINER,
    "linux.resources.oom_score_adj": -5,
}


def leaves(descriptor: Descriptor, above: str = "") -> Iterator[tuple[str, FieldDescriptor]]:
    for field in descriptor.fields:
        path = f"{above}.{field.name}" if above else field.name
        kind = field.message_type
        if kind and not kind.GetOptions().map_entry and not kind.name.endswith("64Value"):
            yield from leaves(kind, path)
        else:
            yield path, field


def set_field(message: Message, path: str, sample: Any) -> None:
    """`path` with a value that is not its default; the messages on its way are made."""
    name, _, rest = path.partition(".")
    field = message.DESCRIPTOR.fields_by_name[name]
    value = getattr(message, name)
    if rest:
        set_field(value.add() if field.is_repeated else value, rest, sample)
    elif field.message_type and field.message_type.GetOptions().map_entry:
        value["key"] = "value"
    elif field.message_type:
        value.value = 5
    elif field.is_repeated:
        value.append(sample if sample is not None else _scalar(field))
    else:
        setattr(message, name, sample if sample is not None else _scalar(field))


def _scalar(field: FieldDescriptor) -> object:
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return "x"
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return True
    return 1


def base() -> cri.ContainerConfig:
    """With one of everything that is repeated, so that its parts can be set alone."""
    config = container_config()
    config.mounts.add(container_path="/m", host_path="/tmp", readonly=True)
    config.devices.add(container_path="/dev/n", host_path="/dev/null", permissions="r")
    return config


def outcome(planner: Planner, config: cri.ContainerConfig) -> object:
    """What becomes of a container: the engine's words and spec, or the refusal, and warnings."""
    facts = replace(FULL_FACTS, list_devices=FACTS.list_devices)
    try:
        plan = planner.container(sandbox(), config, "image", {"Cmd": ["own"]}, facts)
    except CriError as error:
        return error.message
    return plan.creation, plan.edits("id"), nerdctl_spec.ignored(config, facts)


def new_planner(directory: Path) -> Planner:
    """Of a node without Pods."""

    async def nothing(_: object) -> Any: ...

    network = PodNetwork(directory, "/nowhere", "br", Turns(1))
    exits = Exits(FakeClock(), lambda: 0, nothing, nothing, lambda _, __: None)
    return Planner(SandboxDirectories(directory, network), exits, "ns")


@pytest.fixture
def planner(tmp_path: Path) -> Planner:
    return new_planner(tmp_path)


CONTAINER_FIELDS = [path for path, _ in leaves(cri.ContainerConfig.DESCRIPTOR)]


@pytest.mark.parametrize("path", CONTAINER_FIELDS)
def test_a_field_of_a_container(planner: Planner, path: str) -> None:
    config = base()
    head, _, rest = path.partition(".")
    first = getattr(config, head)
    sample = SAMPLES.get(path)
    if head in ("mounts", "devices"):
        set_field(first[0], rest, sample)
    else:
        if head in ("command", "args"):
            del first[:]
        set_field(config, path, sample)
    changed = outcome(planner, config) != outcome(planner, base())
    assert changed != (path in ELSEWHERE), "no effect" if not changed else "strike it off ELSEWHERE"


@pytest.mark.parametrize("path", [path for path, _ in leaves(cri.PodSandboxConfig.DESCRIPTOR)])
def test_a_field_of_a_sandbox(path: str) -> None:
    if path in SANDBOX or path in OF_ITS_PROCESS:
        return
    config = sandbox_config()
    set_field(config, path, None)
    if nerdctl_sandboxes.ignored(config):
        return
    with pytest.raises(CriError):
        nerdctl_sandboxes.refuse(config, FACTS)
