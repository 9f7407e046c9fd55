"""nerdctl's command lines. Pure: settings and CRI messages in, argument lists out."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from protos.cri import runtime_v1_pb2 as cri

LABEL_SANDBOX = "podpath.io/sandbox-id"
LABEL_ROLE = "podpath.io/role"
ROLE_CONTAINER, ROLE_PAUSE = "container", "pause"
_KEPT_LABELS = (
    "io.kubernetes.container.name",
    "io.kubernetes.pod.name",
    "io.kubernetes.pod.namespace",
    "io.kubernetes.pod.uid",
)
_MAX_NAME = 76  # containerd's limit on identifiers
_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class NerdctlSettings:
    """Where this node's nerdctl works. `launcher` stands in for runc, see oci_runtime.py."""

    program: str
    address: str
    namespace: str
    data_root: str
    cni_path: str
    cni_config: str
    hosts_dir: str
    launcher: str


@dataclass(frozen=True, slots=True)
class Creation:
    """What `nerdctl create` is told; everything else is in the container's edits."""

    name: str
    labels: Mapping[str, str]
    image: str
    arguments: Sequence[str]
    user: str = ""
    working_dir: str = ""
    hostname: str = ""
    added_capabilities: Sequence[str] = ()


def base(settings: NerdctlSettings) -> list[str]:
    """The program with its global flags."""
    return [
        settings.program,
        f"--address={settings.address}",
        f"--namespace={settings.namespace}",
        f"--data-root={settings.data_root}",
        f"--cni-path={settings.cni_path}",
        f"--cni-netconfpath={settings.cni_config}",
        f"--hosts-dir={settings.hosts_dir}",
        "--cgroup-manager=cgroupfs",
    ]


def create(settings: NerdctlSettings, creation: Creation) -> list[str]:
    """Creates a container without a network of its own; prints its id."""
    argv = [
        *base(settings),
        "create",
        f"--name={creation.name}",
        "--pull=never",
        "--restart=no",
        "--net=none",
        f"--runtime={settings.launcher}",
        "--log-driver=binary:///bin/true",  # the streams are opened by the launcher
    ]
    argv += [f"--label={key}={value}" for key, value in creation.labels.items()]
    if creation.user:
        argv.append(f"--user={creation.user}")
    if creation.working_dir:
        argv.append(f"--workdir={creation.working_dir}")
    if creation.hostname:
        argv.append(f"--hostname={creation.hostname}")
    # The default seccomp profile, which nerdctl makes, depends on the capabilities.
    argv += [f"--cap-add={name}" for name in creation.added_capabilities]
    first, *rest = creation.arguments
    return [*argv, f"--entrypoint={first}", creation.image, *rest]


def start(settings: NerdctlSettings, container_id: str) -> list[str]:
    return [*base(settings), "start", container_id]


def remove(settings: NerdctlSettings, container_ids: Sequence[str]) -> list[str]:
    """Kills and removes."""
    return [*base(settings), "rm", "--force", "--volumes", *container_ids]


def list_ids(settings: NerdctlSettings) -> list[str]:
    return [*base(settings), "ps", "--all", "--quiet", "--no-trunc"]


def inspect(settings: NerdctlSettings, container_ids: Sequence[str]) -> list[str]:
    """Prints `{"Id", "State", "Config"}` for each that there is."""
    return [*base(settings), "inspect", *container_ids]


def version(settings: NerdctlSettings) -> list[str]:
    return [*base(settings), "version", "--format={{json .}}"]


def list_images(settings: NerdctlSettings) -> list[str]:
    return [*base(settings), "images", "--no-trunc", "--format={{json .}}"]


def inspect_images(settings: NerdctlSettings, names: Sequence[str]) -> list[str]:
    return [*base(settings), "image", "inspect", "--mode=native", *names]


def pull(settings: NerdctlSettings, name: str) -> list[str]:
    """Says on standard error how far it is."""
    return [*base(settings), "pull", name]


def remove_images(settings: NerdctlSettings, names: Sequence[str]) -> list[str]:
    return [*base(settings), "rmi", "--force", *names]


def events(settings: NerdctlSettings) -> list[str]:
    return [*base(settings), "events", "--format=json"]


def container_name(
    sandbox_id: str, sandbox: cri.PodSandboxConfig, config: cri.ContainerConfig
) -> str:
    """Says whose it is, and is unique because of the sandbox's id in its hash."""
    pod, name = sandbox.metadata, config.metadata
    unique = hashlib.sha256(f"{sandbox_id}/{name.name}/{name.attempt}".encode()).hexdigest()[:10]
    readable = _NOT_IN_NAMES.sub("-", f"k8s_{name.name}_{pod.name}_{pod.namespace}")
    return f"{readable[: _MAX_NAME - len(unique) - 1]}_{unique}"


def labels(sandbox_id: str, role: str, given: Mapping[str, str]) -> dict[str, str]:
    """The few labels that tell a person, and a restarted shim, what a container is."""
    kept = {key: given[key] for key in _KEPT_LABELS if key in given}
    return {LABEL_SANDBOX: sandbox_id, LABEL_ROLE: role} | kept
