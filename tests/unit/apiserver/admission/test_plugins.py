"""Each admission plugin on its own: what it changes, what it refuses and with which words.

Recorded from kube-apiserver 1.32.4: the messages about namespaces, missing accounts, priorities, a
missing RuntimeClass and unfounded overhead. The others follow upstream's source and were not run.
"""

import random

import pytest

from apiserver.admission import plugins
from apiserver.admission.default_tolerations import DefaultTolerationSeconds
from apiserver.admission.interface import Attributes
from apiserver.admission.namespace_lifecycle import NamespaceLifecycle
from apiserver.admission.priority import Priority
from apiserver.admission.runtime_class import RuntimeClassAdmission
from apiserver.admission.service_account import ServiceAccountAdmission
from apiserver.admission.taint_nodes import TaintNodesByCondition
from apiserver.authorization.authorizer import ClusterAuthorizer
from apiserver.verbs.interface import Target, UserInfo
from podpath.api import scheme
from podpath.api.errors import ApiError
from podpath.component_base.clock import FakeClock
from protos.k8s.core_v1_pb2 import ConfigMap, Namespace, Node, Pod, ServiceAccount, Toleration
from protos.k8s.meta_v1_pb2 import ObjectMeta
from protos.k8s.node_v1_pb2 import RuntimeClass
from protos.k8s.scheduling_v1_pb2 import PriorityClass
from tests.support.fake_lister import FakeLister

USER = UserInfo("jane")


def pod(**spec):
    made = Pod(metadata=ObjectMeta(name="x", namespace="default"))
    made.spec.initContainers.add(name="i", image="b")
    made.spec.containers.add(name="a", image="b")
    for name, value in spec.items():
        setattr(made.spec, name, value)
    return made


def attributes(resource, obj, operation="CREATE", *, name="x", subresource="", old=None):
    namespace = "default" if resource.namespaced else ""
    return Attributes(USER, Target(resource, namespace, name, subresource), operation, obj, old)


def create(obj):
    return attributes(scheme.PODS, obj)


async def refused(call):
    with pytest.raises(ApiError) as raised:
        await call
    return raised.value


class InstantClock(FakeClock):
    """Sleeps take no time; `slept` counts them and `on_sleep` may change the world."""

    slept = 0
    on_sleep = staticmethod(lambda: None)

    async def sleep(self, seconds):
        self.slept += 1
        self.on_sleep()


# ------------------------------------------------------------ NamespaceLifecycle


def namespaces():
    ending = Namespace(metadata=ObjectMeta(name="term"))
    ending.status.phase = "Terminating"
    return FakeLister(
        (scheme.NAMESPACES, Namespace(metadata=ObjectMeta(name="default"))),
        (scheme.NAMESPACES, ending),
    )


def in_namespace(namespace, operation="CREATE"):
    target = Target(scheme.CONFIGMAPS, namespace, "x")
    return Attributes(USER, target, operation, ConfigMap(), None)


async def test_a_missing_namespace():
    lister = namespaces()
    error = await refused(NamespaceLifecycle(lister).admit(in_namespace("nope")))
    assert (error.code, str(error)) == (404, 'namespaces "nope" not found')
    lister.put_stale(scheme.NAMESPACES, Namespace(metadata=ObjectMeta(name="nope")))
    await NamespaceLifecycle(lister).admit(in_namespace("nope"))


async def test_a_terminating_namespace():
    plugin = NamespaceLifecycle(namespaces())
    error = await refused(plugin.admit(in_namespace("term")))
    assert str(error) == (
        'configmaps "x" is forbidden: unable to create new content in namespace term because it '
        "is being terminated"
    )
    (cause,) = error.status.details.causes
    assert (cause.reason, cause.message, cause.field) == (
        "NamespaceTerminating",
        "namespace term is being terminated",
        "metadata.namespace",
    )
    await plugin.admit(in_namespace("term", "UPDATE"))


@pytest.mark.parametrize(
    ("name", "protected"),
    [
        ("default", True),
        ("kube-system", True),
        ("kube-public", True),
        ("kube-node-lease", False),
        ("mine", False),
    ],
)
async def test_protected_namespaces(name, protected):
    plugin = NamespaceLifecycle(namespaces())
    asked = attributes(scheme.NAMESPACES, None, "DELETE", name=name)
    assert plugin.handles(asked)
    if protected:
        error = await refused(plugin.admit(asked))
        assert str(error) == f'namespaces "{name}" is forbidden: this namespace may not be deleted'
    else:
        await plugin.admit(asked)


@pytest.mark.parametrize(
    ("target", "operation", "handled"),
    [
        (Target(scheme.CONFIGMAPS, "default", "x"), "DELETE", False),
        (Target(scheme.CONFIGMAPS, "default", "x"), "CREATE", True),
        (Target(scheme.NODES, "", "x"), "CREATE", False),
        (Target(scheme.NAMESPACES, "", "x"), "CREATE", False),
        (Target(scheme.LOCALSUBJECTACCESSREVIEWS, "default"), "CREATE", False),
    ],
)
def test_what_namespace_lifecycle_looks_at(target, operation, handled):
    asked = Attributes(USER, target, operation, None, None)
    assert NamespaceLifecycle(namespaces()).handles(asked) is handled


# ------------------------------------------------------------ ServiceAccount


def account(name="default", **fields):
    return ServiceAccount(metadata=ObjectMeta(name=name, namespace="default"), **fields)


def service_accounts(*accounts, clock=None):
    lister = FakeLister(*((scheme.SERVICEACCOUNTS, a) for a in accounts))
    return lister, ServiceAccountAdmission(lister, clock or InstantClock(), random.Random(1))


async def test_the_token_is_mounted_in_all_containers():
    _, plugin = service_accounts(account())
    made = pod()
    await plugin.admit(create(made))
    assert (made.spec.serviceAccountName, made.spec.serviceAccount) == ("default", "default")
    (volume,) = made.spec.volumes
    assert volume.name.startswith("kube-api-access-")
    assert len(volume.name) == len("kube-api-access-") + 5
    projected = volume.volumeSource.projected
    token, authority, field = projected.sources
    assert projected.defaultMode == 420
    assert token.serviceAccountToken.expirationSeconds == 3607
    assert token.serviceAccountToken.path == "token"
    assert authority.configMap.localObjectReference.name == "kube-root-ca.crt"
    assert field.downwardAPI.items[0].fieldRef.fieldPath == "metadata.namespace"
    for container in (*made.spec.initContainers, *made.spec.containers):
        (mount,) = container.volumeMounts
        assert (mount.name, mount.readOnly) == (volume.name, True)
        assert mount.mountPath == "/var/run/secrets/kubernetes.io/serviceaccount"
    await plugin.admit(create(made))
    assert len(made.spec.volumes) == 1, "a second run changes nothing"


@pytest.mark.parametrize(
    ("of_account", "of_pod", "mounted"),
    [
        (None, None, True),
        (False, None, False),
        (True, None, True),
        (False, True, True),
        (True, False, False),
    ],
)
async def test_automount(of_account, of_pod, mounted):
    found = account()
    if of_account is not None:
        found.automountServiceAccountToken = of_account
    made = pod() if of_pod is None else pod(automountServiceAccountToken=of_pod)
    await service_accounts(found)[1].admit(create(made))
    assert bool(made.spec.volumes) is mounted


async def test_a_mount_at_the_path_is_left_alone():
    made = pod()
    path = "/var/run/secrets/kubernetes.io/serviceaccount"
    for container in (*made.spec.initContainers, *made.spec.containers):
        container.volumeMounts.add(name="own", mountPath=path)
    await service_accounts(account())[1].admit(create(made))
    assert not made.spec.volumes
    assert [m.name for m in made.spec.containers[0].volumeMounts] == ["own"]


async def test_image_pull_secrets_come_from_the_account():
    found = account(imagePullSecrets=[{"name": "reg"}])
    made, own = pod(), pod()
    own.spec.imagePullSecrets.add(name="mine")
    plugin = service_accounts(found)[1]
    await plugin.admit(create(made))
    await plugin.admit(create(own))
    assert [s.name for s in made.spec.imagePullSecrets] == ["reg"]
    assert [s.name for s in own.spec.imagePullSecrets] == ["mine"]


@pytest.mark.parametrize(("name", "sleeps"), [("default", 9), ("other", 0)])
async def test_a_missing_account(name, sleeps):
    clock = InstantClock()
    _, plugin = service_accounts(clock=clock)
    error = await refused(plugin.admit(create(pod(serviceAccountName=name))))
    assert str(error) == (
        f'pods "x" is forbidden: error looking up service account default/{name}: '
        f'serviceaccount "{name}" not found'
    )
    assert clock.slept == sleeps


async def test_the_default_account_is_waited_for():
    clock = InstantClock()
    lister, plugin = service_accounts(clock=clock)
    clock.on_sleep = lambda: lister.put_stale(scheme.SERVICEACCOUNTS, account())
    await plugin.admit(create(pod()))
    assert clock.slept == 1


async def test_mirror_pods_are_not_changed_and_use_no_secrets():
    _, plugin = service_accounts(account())
    made = pod()
    made.metadata.annotations["kubernetes.io/config.mirror"] = "h"
    before = made.SerializeToString(deterministic=True)
    await plugin.admit(create(made))
    await plugin.validate(create(made))
    assert made.SerializeToString(deterministic=True) == before
    made.spec.serviceAccountName = "default"
    error = await refused(plugin.validate(create(made)))
    assert "a mirror pod may not reference service accounts" in str(error)
    made.spec.serviceAccountName = ""
    made.spec.volumes.add(name="v").volumeSource.secret.secretName = "s"
    error = await refused(plugin.validate(create(made)))
    assert "a mirror pod may not reference secrets" in str(error)


@pytest.mark.parametrize(
    ("prepare", "cause"),
    [
        (
            lambda p: setattr(p.spec.volumes.add(name="v").volumeSource.secret, "secretName", "s"),
            'volume with secret.secretName="s" is not allowed because service account default '
            "does not reference that secret",
        ),
        (
            lambda p: p.spec.imagePullSecrets.add(name="r"),
            'imagePullSecrets[0].name="r" is not allowed because service account default does '
            "not reference that imagePullSecret",
        ),
    ],
)
async def test_enforced_secrets(prepare, cause):
    found = account()
    made = pod(serviceAccountName="default")
    prepare(made)
    await service_accounts(found)[1].validate(create(made))
    found.metadata.annotations["kubernetes.io/enforce-mountable-secrets"] = "true"
    error = await refused(service_accounts(found)[1].validate(create(made)))
    assert str(error) == f'pods "x" is forbidden: {cause}'


# ------------------------------------------------------------ DefaultTolerationSeconds, taints


@pytest.mark.parametrize(
    ("own", "added"),
    [
        pytest.param([], ["not-ready", "unreachable"], id="none"),
        pytest.param([{"operator": "Exists"}], [], id="tolerates everything"),
        pytest.param(
            [{"key": "node.kubernetes.io/not-ready", "operator": "Exists"}],
            ["unreachable"],
            id="one of them",
        ),
        pytest.param(
            [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}],
            ["not-ready", "unreachable"],
            id="another effect",
        ),
    ],
)
async def test_default_tolerations(own, added):
    made = pod()
    made.spec.tolerations.extend(Toleration(**t) for t in own)
    await DefaultTolerationSeconds().admit(create(made))
    found = made.spec.tolerations[len(own) :]
    assert [t.key for t in found] == [f"node.kubernetes.io/{name}" for name in added]
    assert all(
        (t.operator, t.effect, t.tolerationSeconds) == ("Exists", "NoExecute", 300) for t in found
    )


async def test_new_nodes_are_tainted_once():
    node = Node(metadata=ObjectMeta(name="n"))
    asked = attributes(scheme.NODES, node, name="n")
    plugin = TaintNodesByCondition()
    assert plugin.handles(asked)
    await plugin.admit(asked)
    await plugin.admit(asked)
    assert [(t.key, t.effect) for t in node.spec.taints] == [
        ("node.kubernetes.io/not-ready", "NoSchedule")
    ]


# ------------------------------------------------------------ Priority


def priority_class(name, value, default=False, policy=""):
    meta = ObjectMeta(name=name)
    return PriorityClass(metadata=meta, value=value, globalDefault=default, preemptionPolicy=policy)


def priorities(*classes):
    return Priority(FakeLister(*((scheme.PRIORITYCLASSES, c) for c in classes)))


@pytest.mark.parametrize(
    ("classes", "spec", "expected"),
    [
        pytest.param([], {}, ("", 0, "PreemptLowerPriority"), id="no classes"),
        pytest.param(
            [priority_class("hi", 9, policy="Never")],
            {"priorityClassName": "hi"},
            ("hi", 9, "Never"),
            id="named",
        ),
        pytest.param(
            [priority_class("d", 5, default=True), priority_class("e", 3, default=True)],
            {},
            ("e", 3, "PreemptLowerPriority"),
            id="lowest default",
        ),
        pytest.param([], {"priority": 0}, ("", 0, "PreemptLowerPriority"), id="as computed"),
    ],
)
async def test_priority(classes, spec, expected):
    made = pod(**spec)
    await priorities(*classes).admit(create(made))
    found = (made.spec.priorityClassName, made.spec.priority, made.spec.preemptionPolicy)
    assert found == expected
    assert made.spec.HasField("priority")


@pytest.mark.parametrize(
    ("spec", "cause"),
    [
        ({"priorityClassName": "nope"}, "no PriorityClass with name nope was found"),
        (
            {"priority": 7},
            "the integer value of priority (7) must not be provided in pod spec; priority "
            "admission controller computed 0 from the given PriorityClass name",
        ),
        (
            {"preemptionPolicy": "Never"},
            "the string value of PreemptionPolicy (Never) must not be provided in pod spec; "
            "priority admission controller computed PreemptLowerPriority from the given "
            "PriorityClass name",
        ),
    ],
)
async def test_refused_priorities(spec, cause):
    error = await refused(priorities().admit(create(pod(**spec))))
    assert str(error) == f'pods "x" is forbidden: {cause}'


async def test_updates_keep_the_priority():
    old, new = pod(priority=5, preemptionPolicy="Never"), pod()
    await priorities().admit(attributes(scheme.PODS, new, "UPDATE", old=old))
    assert (new.spec.priority, new.spec.preemptionPolicy) == (5, "Never")


async def test_one_default_class():
    plugin = priorities(priority_class("g1", 5, default=True))
    second = attributes(scheme.PRIORITYCLASSES, priority_class("g2", 5, True), name="g2")
    error = await refused(plugin.validate(second))
    assert str(error) == (
        'priorityclasses.scheduling.k8s.io "g2" is forbidden: PriorityClass g1 is already marked '
        "as default. Only one default can exist"
    )
    same = attributes(scheme.PRIORITYCLASSES, priority_class("g1", 5, True), "UPDATE", name="g1")
    await plugin.validate(same)


# ------------------------------------------------------------ RuntimeClass


def runtime_class():
    made = RuntimeClass(metadata=ObjectMeta(name="kata"), handler="kata")
    made.overhead.podFixed["cpu"].string = "250m"
    made.scheduling.nodeSelector["kata"] = "yes"
    made.scheduling.tolerations.add(key="kata", operator="Exists")
    return made


def runtime_classes():
    return RuntimeClassAdmission(FakeLister((scheme.RUNTIMECLASSES, runtime_class())))


async def test_runtime_class_adds_overhead_and_constraints():
    made = pod(runtimeClassName="kata")
    made.spec.tolerations.add(key="kata", operator="Equal", value="1", effect="NoSchedule")
    made.spec.tolerations.add(key="other", operator="Exists")
    plugin = runtime_classes()
    await plugin.admit(create(made))
    await plugin.validate(create(made))
    assert made.spec.overhead["cpu"].string == "250m"
    assert dict(made.spec.nodeSelector) == {"kata": "yes"}
    assert [t.key for t in made.spec.tolerations] == ["other", "kata"], "the wider one stays"


@pytest.mark.parametrize(
    ("name", "cpu", "selector", "cause"),
    [
        ("nope", "", "", 'pod rejected: RuntimeClass "nope" not found'),
        (
            "",
            "1",
            "",
            "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead",
        ),
        (
            "kata",
            "1",
            "",
            "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead",
        ),
        (
            "kata",
            "",
            "no",
            "conflict: runtimeClass.scheduling.nodeSelector[kata] = yes; "
            "pod.spec.nodeSelector[kata] = no",
        ),
    ],
)
async def test_refused_runtime_classes(name, cpu, selector, cause):
    made = pod(runtimeClassName=name) if name else pod()
    if cpu:
        made.spec.overhead["cpu"].string = cpu
    if selector:
        made.spec.nodeSelector["kata"] = selector

    async def both():
        await runtime_classes().admit(create(made))
        await runtime_classes().validate(create(made))

    assert str(await refused(both())) == f'pods "x" is forbidden: {cause}'


async def test_the_same_overhead_in_other_words_is_accepted():
    made = pod(runtimeClassName="kata")
    made.spec.overhead["cpu"].string = "0.25"
    await runtime_classes().admit(create(made))
    await runtime_classes().validate(create(made))


# ------------------------------------------------------------ which plugins run


@pytest.mark.parametrize(
    ("enable", "disable", "missing"),
    [
        ([], [], set()),
        (["Priority"], [], set()),
        ([], ["Priority", "NodeRestriction"], {"Priority", "NodeRestriction"}),
        ([], ["PodSecurity"], set()),
    ],
)
def test_enabled_plugins_keep_upstreams_order(enable, disable, missing):
    expected = [name for name in plugins.DEFAULT_ON if name not in missing]
    assert list(plugins.enabled(enable, disable)) == expected
    assert plugins.DEFAULT_ON == (
        "NamespaceLifecycle",
        "LimitRanger",
        "ServiceAccount",
        "NodeRestriction",
        "TaintNodesByCondition",
        "Priority",
        "DefaultTolerationSeconds",
        "RuntimeClass",
        "CertificateApproval",
        "CertificateSigning",
        "CertificateSubjectRestriction",
        "ResourceQuota",
    )


@pytest.mark.parametrize(
    ("enable", "disable", "message"),
    [
        (["Nope"], [], 'enable-admission-plugins plugin "Nope" is unknown'),
        ([], ["Nope"], 'disable-admission-plugins plugin "Nope" is unknown'),
        (["PodSecurity"], [], "podpath does not have PodSecurity"),
        (["Priority"], ["Priority"], "overlapped"),
    ],
)
def test_wrong_flags(enable, disable, message):
    with pytest.raises(plugins.PluginError, match=message):
        plugins.enabled(enable, disable)


def test_the_escalation_check_is_always_on():
    lister = FakeLister()
    parts = plugins.Parts(lister, FakeClock(), random.Random(1), lister)
    made = plugins.build(ClusterAuthorizer(lister, lister), parts, (), plugins.DEFAULT_ON)
    assert [plugin.name for plugin in made] == ["CertificateRequester", "RBACEscalationCheck"]
