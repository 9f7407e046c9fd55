"""CRI's fields to the changes of an OCI spec."""

import json
from typing import Any

import pytest

from protos.cri import runtime_v1_pb2 as cri
from runtime_shim.backends import nerdctl_argv, nerdctl_security, nerdctl_spec, oci_runtime
from runtime_shim.backends.nerdctl_spec import Request, SandboxPaths
from runtime_shim.errors import Code, CriError
from runtime_shim.node_facts import Device, NodeFacts
from tests.support.shims import container_config, sandbox_config

NULL = Device("/dev/null", "c", 1, 3, 0o666, 0, 0)
FACTS = NodeFacts(
    capabilities=("CHOWN", "KILL", "NET_ADMIN", "SYS_ADMIN"),
    can_lower_oom_score=False,
    apparmor=False,
    selinux=False,
    memory_swap=False,
    hugetlb=False,
    recursive_read_only=True,
    cgroup_v2=False,
    list_devices=lambda path: [NULL] if path in ("/dev", "/dev/null") else [],
)
PATHS = SandboxPaths(
    network="/s/net",
    ipc="/s/ipc",
    uts="/s/uts",
    pid="/proc/7/ns/pid",
    shm="/s/shm",
    resolv_conf="/s/resolv.conf",
    hosts="/s/hosts",
    hostname="/s/hostname",
)


def edits(config: cri.ContainerConfig, facts: NodeFacts = FACTS) -> dict[str, Any]:
    return nerdctl_spec.edits(
        Request(
            config=config,
            sandbox=sandbox_config(),
            paths=PATHS,
            facts=facts,
            cgroup_path="/pod/c",
            target_pid="/proc/9/ns/pid",
            seccomp={"defaultAction": "SCMP_ACT_ALLOW"},
        )
    )


def context(**fields: Any) -> cri.ContainerConfig:
    config = container_config()
    config.linux.security_context.MergeFrom(cri.LinuxContainerSecurityContext(**fields))
    return config


def test_the_edits_are_json() -> None:
    assert json.loads(json.dumps(edits(container_config())))


@pytest.mark.parametrize(
    ("mode", "pid"),
    [
        pytest.param(cri.POD, "/proc/7/ns/pid", id="pod"),
        pytest.param(cri.CONTAINER, "", id="own"),
        pytest.param(cri.NODE, None, id="node"),
        pytest.param(cri.TARGET, "/proc/9/ns/pid", id="target"),
    ],
)
def test_pid_namespaces(mode: "cri.NamespaceMode", pid: str | None) -> None:
    config = container_config()
    config.linux.security_context.namespace_options.pid = mode
    assert edits(config)["namespaces"] == {
        "network": "/s/net",
        "ipc": "/s/ipc",
        "uts": "/s/uts",
        "pid": pid,
    }


@pytest.mark.parametrize(
    ("capability", "privileged", "expected"),
    [
        pytest.param({}, False, len(nerdctl_security.DEFAULT_CAPABILITIES), id="default"),
        pytest.param({"add_capabilities": ["net_admin"]}, False, 15, id="one more"),
        pytest.param({"drop_capabilities": ["CAP_KILL"]}, False, 13, id="one less"),
        pytest.param({"drop_capabilities": ["ALL"]}, False, 0, id="none"),
        pytest.param(
            {"drop_capabilities": ["ALL"], "add_capabilities": ["KILL"]}, False, 1, id="only one"
        ),
        pytest.param({"add_capabilities": ["ALL"]}, False, 4, id="all of the node"),
        pytest.param(
            {"add_capabilities": ["ALL"], "drop_capabilities": ["KILL"]}, False, 3, id="all but one"
        ),
        pytest.param({}, True, 4, id="privileged"),
    ],
)
def test_capabilities(capability: dict[str, Any], privileged: bool, expected: int) -> None:
    config = context(capabilities=cri.Capability(**capability), privileged=privileged)
    bounding = edits(config)["process"]["capabilities"]["bounding"]
    assert len(bounding) == expected
    assert all(name.startswith("CAP_") for name in bounding)


def test_a_privileged_container_has_the_nodes_devices_and_nothing_masked() -> None:
    config = context(privileged=True, masked_paths=["/proc/kcore"])
    changes = edits(config)
    assert [d["path"] for d in changes["linux"]["devices"]] == ["/dev/null"]
    assert changes["resources"]["devices"] == [{"allow": True, "access": "rwm"}]
    assert {"maskedPaths", "readonlyPaths", "seccomp"} <= set(changes["linux_absent"])


@pytest.mark.parametrize(
    ("fields", "absent", "profile"),
    [
        pytest.param({}, True, None, id="none asked for"),
        pytest.param({"seccomp_profile_path": "runtime/default"}, False, None, id="old default"),
        pytest.param(
            {"seccomp": cri.SecurityProfile(profile_type=cri.SecurityProfile.Unconfined)},
            True,
            None,
            id="unconfined",
        ),
    ],
)
def test_seccomp(fields: dict[str, Any], absent: bool, profile: object) -> None:
    request = Request(
        config=context(**fields),
        sandbox=sandbox_config(),
        paths=PATHS,
        facts=FACTS,
        cgroup_path="/c",
        target_pid="",
        seccomp=None,
    )
    changes = nerdctl_spec.edits(request)
    assert ("seccomp" in changes["linux_absent"]) is absent
    assert changes["linux"].get("seccomp") is profile


def test_resources_that_are_zero_are_not_set() -> None:
    given = cri.LinuxContainerResources(cpu_shares=2, memory_limit_in_bytes=1 << 20)
    assert nerdctl_spec.resources(given, FACTS) == {
        "cpu": {"shares": 2},
        "memory": {"limit": 1 << 20},
    }


def test_mounts_of_the_pod_give_way_to_those_asked_for() -> None:
    config = container_config()
    config.mounts.add(container_path="/etc/hosts", host_path="/kubelet/hosts")
    config.mounts.add(container_path="/data/deep", host_path="/d2", readonly=True)
    config.mounts.add(container_path="/data", host_path="/d1")
    mounts = {m["destination"]: m for m in edits(config)["mounts"]}
    assert mounts["/etc/hosts"]["source"] == "/kubelet/hosts"
    assert mounts["/etc/resolv.conf"]["source"] == "/s/resolv.conf"
    assert mounts["/data/deep"]["options"] == ["rbind", "rprivate", "ro"]
    order = list(mounts)
    assert order.index("/data") < order.index("/data/deep")


@pytest.mark.parametrize(
    ("propagation", "option", "rootfs"),
    [
        (cri.PROPAGATION_PRIVATE, "rprivate", None),
        (cri.PROPAGATION_HOST_TO_CONTAINER, "rslave", "rslave"),
        (cri.PROPAGATION_BIDIRECTIONAL, "rshared", "rshared"),
    ],
)
def test_mount_propagation(propagation: int, option: str, rootfs: str | None) -> None:
    config = container_config()
    config.mounts.add(container_path="/m", host_path="/m", propagation=propagation)
    changes = edits(config)
    assert option in changes["mounts"][-1]["options"]
    assert changes["linux"].get("rootfsPropagation") == rootfs


def _windows() -> cri.ContainerConfig:
    config = container_config()
    config.windows.SetInParent()
    return config


def _mount(**fields: Any) -> cri.ContainerConfig:
    config = container_config()
    config.mounts.add(container_path="/m", host_path="/m", **fields)
    return config


def _unified() -> cri.ContainerConfig:
    config = container_config()
    config.linux.resources.unified["memory.high"] = "1"
    return config


def _device() -> cri.ContainerConfig:
    config = container_config()
    config.devices.add(host_path="/dev/nothing", container_path="/dev/nothing")
    return config


@pytest.mark.parametrize(
    ("config", "code", "word"),
    [
        pytest.param(_windows(), Code.INVALID_ARGUMENT, "windows", id="windows"),
        pytest.param(
            context(selinux_options=cri.SELinuxOption(type="t")),
            Code.INVALID_ARGUMENT,
            "SELinux",
            id="selinux",
        ),
        pytest.param(
            context(
                apparmor=cri.SecurityProfile(
                    profile_type=cri.SecurityProfile.Localhost, localhost_ref="p"
                )
            ),
            Code.INVALID_ARGUMENT,
            "AppArmor",
            id="apparmor",
        ),
        pytest.param(
            context(seccomp_profile_path="what/ever"),
            Code.INVALID_ARGUMENT,
            "what/ever",
            id="seccomp path",
        ),
        pytest.param(
            _mount(image=cri.ImageSpec(image="x")), Code.UNIMPLEMENTED, "image", id="image volume"
        ),
        pytest.param(
            _mount(uidMappings=[cri.IDMapping(length=1)]),
            Code.UNIMPLEMENTED,
            "mappings",
            id="id mapping",
        ),
        pytest.param(
            _mount(recursive_read_only=True),
            Code.INVALID_ARGUMENT,
            "recursive_read_only",
            id="recursive but writable",
        ),
        pytest.param(_unified(), Code.UNIMPLEMENTED, "cgroup v1", id="unified on v1"),
        pytest.param(_device(), Code.NOT_FOUND, "/dev/nothing", id="no such device"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(
    config: cri.ContainerConfig, code: Code, word: str
) -> None:
    with pytest.raises(CriError) as raised:
        edits(config)
    assert raised.value.code is code
    assert word in raised.value.message


@pytest.mark.parametrize(
    ("command", "args", "expected"),
    [
        ([], [], ["entry", "cmd"]),
        ([], ["a"], ["entry", "a"]),
        (["c"], [], ["c"]),
        (["c"], ["a"], ["c", "a"]),
    ],
)
def test_command_and_arguments(command: list[str], args: list[str], expected: list[str]) -> None:
    config = cri.ContainerConfig(command=command, args=args)
    image = {"Entrypoint": ["entry"], "Cmd": ["cmd"]}
    assert nerdctl_spec.arguments(config, image) == expected


def test_a_group_needs_a_user() -> None:
    group = cri.LinuxContainerSecurityContext(run_as_group=cri.Int64Value(value=5))
    with pytest.raises(CriError):
        nerdctl_security.user(group)
    group.run_as_user.value = 0
    assert nerdctl_security.user(group) == "0:5"


SPEC: dict[str, Any] = {
    "process": {
        "user": {"uid": 1000, "gid": 1000, "additionalGids": [1000, 50000]},
        "env": ["PATH=/bin", "HOME=/"],
    },
    "root": {"path": "rootfs"},
    "hostname": "vm",
    "hooks": {"createRuntime": [{"path": "nerdctl"}]},
    "mounts": [
        {"destination": "/proc", "type": "proc", "options": ["nosuid"]},
        {"destination": "/sys", "type": "sysfs", "options": ["nosuid", "ro"]},
        {"destination": "/etc/hosts", "type": "bind", "source": "/nerdctl/hosts"},
    ],
    "linux": {
        "namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "uts"}],
        "seccomp": {},
        "resources": {"memory": {}, "devices": [{"allow": False, "access": "rwm"}]},
    },
}


def applied(config: cri.ContainerConfig) -> dict[str, Any]:
    return oci_runtime.apply(json.loads(json.dumps(SPEC)), edits(config))


def test_apply_makes_the_spec_the_pods() -> None:
    config = container_config()
    config.envs.add(key="PATH", value="/mine")
    spec = applied(config)
    assert "hooks" not in spec
    assert "hostname" not in spec
    assert spec["process"]["env"] == ["HOME=/", "PATH=/mine"]
    namespaces = {n["type"]: n.get("path") for n in spec["linux"]["namespaces"]}
    assert namespaces == {
        "mount": None,
        "network": "/s/net",
        "ipc": "/s/ipc",
        "uts": "/s/uts",
        "pid": None,
    }
    sources = {m["destination"]: m.get("source") for m in spec["mounts"]}
    assert sources["/etc/hosts"] == "/s/hosts"
    assert sources["/proc"] is None


@pytest.mark.parametrize(
    ("policy", "groups"),
    [(cri.Merge, [1000, 50000, 1234]), (cri.Strict, [1000, 1234])],
)
def test_supplemental_groups(policy: int, groups: list[int]) -> None:
    config = context(supplemental_groups=[1234], supplemental_groups_policy=policy)
    assert applied(config)["process"]["user"]["additionalGids"] == groups


def test_a_privileged_container_may_write_sys() -> None:
    spec = applied(context(privileged=True))
    (sysfs,) = [m for m in spec["mounts"] if m["destination"] == "/sys"]
    assert sysfs["options"] == ["nosuid", "rw"]
    assert spec["linux"]["resources"]["devices"] == [{"allow": True, "access": "rwm"}]


def test_names_of_engine_containers_are_short_and_unique() -> None:
    pod = sandbox_config("p" * 200)
    names = {
        nerdctl_argv.container_name(sandbox_id, pod, container_config("c/d", attempt=attempt))
        for sandbox_id in ("s1", "s2")
        for attempt in (0, 1)
    }
    assert len(names) == 4
    assert all(len(name) <= 76 and "/" not in name for name in names)
