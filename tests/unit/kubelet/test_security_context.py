"""Security contexts of a Pod and its containers -> CRI's."""

import pytest

from kubelet.environment import ContainerConfigError
from kubelet.security_context import set_container_security, set_sandbox_security
from protos.cri import runtime_v1_pb2 as cri
from protos.k8s import core_v1_pb2 as core

POD, CONTAINER = core.PodSecurityContext, core.SecurityContext
IMAGE_OF_7, IMAGE_OF_ROOT, IMAGE_OF_A_NAME = (
    cri.Image(uid=cri.Int64Value(value=7)),
    cri.Image(uid=cri.Int64Value(value=0)),
    cri.Image(username="www"),
)


def security(
    own: CONTAINER | None = None,
    shared: POD | None = None,
    image: cri.Image = IMAGE_OF_7,
    target_id: str = "",
) -> cri.LinuxContainerSecurityContext:
    pod = core.Pod(spec=core.PodSpec(securityContext=shared))
    container = core.Container(name="c", securityContext=own)
    made = cri.LinuxContainerSecurityContext()
    set_container_security(made, pod, container, image, target_id=target_id, seccomp_dir="/s")
    return made


@pytest.mark.parametrize(
    ("own", "shared", "image", "user", "group"),
    [
        pytest.param(None, None, IMAGE_OF_7, 7, None, id="the image's"),
        pytest.param(None, None, IMAGE_OF_A_NAME, "www", None, id="the image's name"),
        pytest.param(None, POD(runAsUser=1, runAsGroup=2), IMAGE_OF_7, 1, 2, id="the Pod's"),
        pytest.param(
            CONTAINER(runAsUser=3, runAsGroup=0),
            POD(runAsUser=1, runAsGroup=2),
            IMAGE_OF_7,
            3,
            0,
            id="the container's own",
        ),
    ],
)
def test_who_a_container_is(
    own: CONTAINER | None, shared: POD | None, image: cri.Image, user: object, group: int | None
) -> None:
    made = security(own, shared, image)
    assert (made.run_as_username or made.run_as_user.value) == user
    assert (made.run_as_group.value if made.HasField("run_as_group") else None) == group


@pytest.mark.parametrize(
    ("own", "shared", "image", "word"),
    [
        (CONTAINER(runAsNonRoot=True, runAsUser=0), None, IMAGE_OF_7, "breaks non-root policy"),
        (None, POD(runAsNonRoot=True), IMAGE_OF_ROOT, "will run as root"),
        (None, POD(runAsNonRoot=True), IMAGE_OF_A_NAME, "non-numeric user (www)"),
    ],
)
def test_root_is_refused(
    own: CONTAINER | None, shared: POD | None, image: cri.Image, word: str
) -> None:
    with pytest.raises(ContainerConfigError) as raised:
        security(own, shared, image)
    assert word in str(raised.value)


def test_a_container_may_be_root_where_its_pod_may_not() -> None:
    made = security(CONTAINER(runAsNonRoot=False), POD(runAsNonRoot=True), IMAGE_OF_ROOT)
    assert made.run_as_user.value == 0


def test_groups_and_their_policy() -> None:
    made = security(
        shared=POD(supplementalGroups=[5], fsGroup=6, supplementalGroupsPolicy="Strict")
    )
    assert list(made.supplemental_groups) == [5, 6]
    assert made.supplemental_groups_policy == cri.Strict


@pytest.mark.parametrize(
    ("own", "masked"),
    [
        (CONTAINER(), True),
        (CONTAINER(privileged=True), False),
        (CONTAINER(procMount="Unmasked"), False),
    ],
)
def test_what_is_hidden_in_proc(own: CONTAINER, masked: bool) -> None:
    made = security(own)
    assert ("/proc/kcore" in made.masked_paths) == masked
    assert ("/proc/sys" in made.readonly_paths) == masked


@pytest.mark.parametrize(
    ("own", "kind", "path"),
    [
        (None, "Unconfined", ""),
        (core.SeccompProfile(type="RuntimeDefault"), "RuntimeDefault", ""),
        (
            core.SeccompProfile(type="Localhost", localhostProfile="p.json"),
            "Localhost",
            "/s/p.json",
        ),
    ],
)
def test_seccomp(own: core.SeccompProfile | None, kind: str, path: str) -> None:
    made = security(CONTAINER(seccompProfile=own)).seccomp
    assert cri.SecurityProfile.ProfileType.Name(made.profile_type) == kind
    assert made.localhost_ref == path


def test_privileges_gained_later() -> None:
    assert security(CONTAINER(allowPrivilegeEscalation=False)).no_new_privs
    assert not security(CONTAINER(allowPrivilegeEscalation=True)).no_new_privs
    assert not security().no_new_privs


def test_an_ephemeral_container_joins_its_target() -> None:
    options = security(target_id="t").namespace_options
    assert (options.pid, options.target_id) == (cri.TARGET, "t")


def test_a_sandbox() -> None:
    pod = core.Pod(spec=core.PodSpec(hostNetwork=True, hostIPC=True, shareProcessNamespace=True))
    pod.spec.containers.add(securityContext=CONTAINER(privileged=True))
    pod.spec.securityContext.sysctls.add(name="net.core.somaxconn", value="9")
    linux = cri.LinuxPodSandboxConfig()
    set_sandbox_security(linux, pod)
    options = linux.security_context.namespace_options
    assert (options.network, options.ipc, options.pid) == (cri.NODE, cri.NODE, cri.POD)
    assert linux.security_context.privileged
    assert dict(linux.sysctls) == {"net.core.somaxconn": "9"}
