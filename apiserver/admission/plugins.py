"""Which admission plugins there are, in which order they run and which are on.

Source: k8s.io/kubernetes pkg/kubeapiserver/options/plugins.go (AllOrderedPlugins,
DefaultOffAdmissionPlugins), pkg/kubeapiserver/options/admission.go.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from apiserver.admission.certificates import (
    CertificateApproval,
    CertificateRequester,
    CertificateSigning,
    CertificateSubjectRestriction,
)
from apiserver.admission.default_tolerations import DefaultTolerationSeconds
from apiserver.admission.interface import Plugin
from apiserver.admission.limit_ranger import LimitRanger
from apiserver.admission.namespace_lifecycle import NamespaceLifecycle
from apiserver.admission.node_restriction import NodeRestriction
from apiserver.admission.priority import Priority
from apiserver.admission.resource_quota import ResourceQuotaAdmission
from apiserver.admission.runtime_class import RuntimeClassAdmission
from apiserver.admission.service_account import ServiceAccountAdmission
from apiserver.admission.taint_nodes import TaintNodesByCondition
from apiserver.authorization.authorizer import ClusterAuthorizer
from apiserver.authorization.escalation import EscalationCheck
from apiserver.lister import ChangeSource, Lister
from podpath.component_base.clock import Clock


class PluginError(Exception):
    """The flags name plugins that cannot be had. The message says which."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What plugins are made from."""

    lister: Lister
    clock: Clock
    chance: random.Random
    changes: ChangeSource


# In upstream's order. NodeRestriction is off in a bare kube-apiserver and on in every cluster that
# kubeadm makes; here it is on, because without it kubelets may write one another's Nodes.
_PLUGINS: dict[str, Callable[[Parts, ClusterAuthorizer], Plugin]] = {
    "NamespaceLifecycle": lambda p, _: NamespaceLifecycle(p.lister),
    "LimitRanger": lambda p, _: LimitRanger(p.lister),
    "ServiceAccount": lambda p, _: ServiceAccountAdmission(p.lister, p.clock, p.chance),
    "NodeRestriction": lambda p, _: NodeRestriction(p.lister),
    "TaintNodesByCondition": lambda _p, _a: TaintNodesByCondition(),
    "Priority": lambda p, _: Priority(p.lister),
    "DefaultTolerationSeconds": lambda _p, _a: DefaultTolerationSeconds(),
    "RuntimeClass": lambda p, _: RuntimeClassAdmission(p.lister),
    "CertificateApproval": lambda _, a: CertificateApproval(a),
    "CertificateSigning": lambda _, a: CertificateSigning(a),
    "CertificateSubjectRestriction": lambda _p, _a: CertificateSubjectRestriction(),
    "ResourceQuota": lambda p, _: ResourceQuotaAdmission(p.changes),
}
DEFAULT_ON = tuple(_PLUGINS)

# Upstream's others: they may be disabled (they are not there), not enabled.
_ABSENT = frozenset(
    {
        "AlwaysAdmit",
        "AlwaysDeny",
        "AlwaysPullImages",
        "ClusterTrustBundleAttest",
        "DefaultIngressClass",
        "DefaultStorageClass",
        "DenyServiceExternalIPs",
        "EventRateLimit",
        "ExtendedResourceToleration",
        "ImagePolicyWebhook",
        "LimitPodHardAntiAffinityTopology",
        "MutatingAdmissionPolicy",
        "MutatingAdmissionWebhook",
        "NamespaceAutoProvision",
        "NamespaceExists",
        "OwnerReferencesPermissionEnforcement",
        "PersistentVolumeClaimResize",
        "PodNodeSelector",
        "PodSecurity",
        "PodTolerationRestriction",
        "PodTopologyLabels",
        "StorageObjectInUseProtection",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionWebhook",
    }
)


def enabled(enable: Sequence[str] = (), disable: Sequence[str] = ()) -> tuple[str, ...]:
    """Names of the plugins that run, in order: those on by default, plus and minus the flags'.

    Raises: PluginError when a name is unknown, not built, or in both lists.
    """
    for flag, names in (("enable", enable), ("disable", disable)):
        for name in names:
            if name not in _PLUGINS and name not in _ABSENT:
                raise PluginError(f'{flag}-admission-plugins plugin "{name}" is unknown')
    if absent := [name for name in enable if name in _ABSENT]:
        raise PluginError(
            f"enable-admission-plugins: podpath does not have {', '.join(absent)}; "
            f"it has {', '.join(_PLUGINS)}"
        )
    if both := sorted(set(enable) & set(disable)):
        raise PluginError(
            f"{both} in enable-admission-plugins and disable-admission-plugins overlapped"
        )
    on = (set(DEFAULT_ON) | set(enable)) - set(disable)
    return tuple(name for name in _PLUGINS if name in on)


def build(
    authorizer: ClusterAuthorizer,
    parts: Parts,
    enable: Sequence[str] = (),
    disable: Sequence[str] = (),
) -> list[Plugin]:
    """The plugins of an API server, in order, for `Chain`. Who asks for a certificate is
    written first, the RBAC escalation check comes last; neither can be disabled. Only quotas are
    charged after it: what they have charged, nobody refuses any more.

    Raises: PluginError.
    """
    made = [_PLUGINS[name](parts, authorizer) for name in enabled(enable, disable)]
    quotas = [plugin for plugin in made if isinstance(plugin, ResourceQuotaAdmission)]
    others = [plugin for plugin in made if plugin not in quotas]
    return [CertificateRequester(), *others, EscalationCheck(authorizer), *quotas]
