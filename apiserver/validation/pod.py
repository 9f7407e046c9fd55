"""Pods, and the Pod templates of other kinds.

Source: pkg/apis/core/validation/validation.go (ValidatePodSpec, ValidatePodCreate,
ValidatePodTemplateSpec).
"""

from collections.abc import Sequence

from apiserver.validation.containers import (
    PodContext,
    validate_containers,
    validate_ephemeral_containers,
    validate_init_containers,
)
from apiserver.validation.metadata import (
    validate_annotations,
    validate_label_name,
    validate_labels,
)
from apiserver.validation.resources import validate_requirements
from apiserver.validation.scheduling import (
    validate_affinity,
    validate_gates,
    validate_spread,
    validate_tolerations,
)
from apiserver.validation.security import validate_pod_security_context
from apiserver.validation.volumes import validate_volumes
from podpath.api import names
from podpath.api.errors import FieldError, forbidden_field, invalid, not_supported, required
from protos.k8s.core_v1_pb2 import HostAlias, Pod, PodSpec, PodTemplateSpec, ResourceRequirements

_RESTART_POLICIES = ("Always", "OnFailure", "Never")
_DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_PREEMPTION_POLICIES = ("PreemptLowerPriority", "Never")
_NAMESERVERS_MAX = 3
_SEARCHES_MAX = 32
_SEARCH_CHARS_MAX = 2048
_INT32_MAX = 2**31 - 1
_DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_MIRROR = "kubernetes.io/config.mirror"


def validate_pod(pod: Pod) -> list[FieldError]:
    """A new Pod, apart from its metadata."""
    spec = pod.spec
    found = validate_pod_body(pod)
    if spec.ephemeralContainers:
        found.append(forbidden_field("spec.ephemeralContainers", "cannot be set on create"))
    if spec.nodeName and spec.schedulingGates:
        detail = "cannot be set until all schedulingGates have been cleared"
        found.append(forbidden_field("spec.nodeName", detail))
    return found


def validate_pod_body(pod: Pod) -> list[FieldError]:
    """What holds for new and for changed Pods."""
    spec = pod.spec
    found = _annotations(pod) if pod.metadata.annotations else []
    found += validate_pod_spec(spec, "spec", is_pod=True)
    if not spec.serviceAccountName:
        detail = "must not be specified when serviceAccountName is not set"
        for index, volume in enumerate(spec.volumes):
            for number, source in enumerate(volume.volumeSource.projected.sources):
                if source.HasField("serviceAccountToken"):
                    here = f"spec.volumes[{index}].projected.sources[{number}].serviceAccountToken"
                    found.append(forbidden_field(here, detail))
    for name in ("containers", "initContainers"):
        for index, container in enumerate(getattr(spec, name)):
            if container.image != container.image.strip():
                here = f"spec.{name}[{index}].image"
                detail = "must not have leading or trailing whitespace"
                found.append(invalid(here, container.image, detail))
    return found


def _annotations(pod: Pod) -> list[FieldError]:
    found = []
    annotations = pod.metadata.annotations
    if _MIRROR in annotations and not pod.spec.nodeName:
        detail = "must set spec.nodeName if mirror pod annotation is set"
        here = f"metadata.annotations[{_MIRROR}]"
        found.append(invalid(here, annotations[_MIRROR], detail))
    cost = annotations.get(_DELETION_COST, "")
    if cost and not _is_int32(cost):
        here = f"metadata.annotations[{_DELETION_COST}]"
        found.append(invalid(here, cost, "must be a 32bit integer"))
    return found


def _is_int32(text: str) -> bool:
    digits = text.removeprefix("-")
    return digits.isdigit() and digits.isascii() and -_INT32_MAX - 1 <= int(text) <= _INT32_MAX


def validate_template(template: PodTemplateSpec, path: str) -> list[FieldError]:
    """The template of a workload."""
    meta = template.metadata
    found: list[FieldError] = []
    if meta.labels:
        found += validate_labels(meta.labels, f"{path}.labels")
    if meta.annotations:
        found += validate_annotations(meta.annotations, f"{path}.annotations")
    found += validate_pod_spec(template.spec, f"{path}.spec", is_pod=False)
    if template.spec.ephemeralContainers:
        here = f"{path}.spec.ephemeralContainers"
        found.append(forbidden_field(here, "ephemeral containers not allowed in pod template"))
    return found


def validate_pod_spec(spec: PodSpec, path: str, is_pod: bool) -> list[FieldError]:
    """The order of the checks is upstream's, and so is that of the errors."""
    found: list[FieldError] = []
    if not spec.HasField("terminationGracePeriodSeconds"):
        found.append(required(f"{path}.terminationGracePeriodSeconds"))
    volumes, problems = validate_volumes(spec.volumes, f"{path}.volumes")
    found += problems
    context = PodContext(
        volumes=volumes,
        restart_policy=spec.restartPolicy,
        grace_s=spec.terminationGracePeriodSeconds,
        host_users=not spec.HasField("hostUsers") or spec.hostUsers,
    )
    found += validate_containers(spec.containers, context, f"{path}.containers")
    if spec.initContainers:
        here = f"{path}.initContainers"
        found += validate_init_containers(spec.initContainers, spec.containers, context, here)
    if spec.ephemeralContainers:
        others = [c.name for c in (*spec.containers, *spec.initContainers)]
        here = f"{path}.ephemeralContainers"
        found += validate_ephemeral_containers(spec.ephemeralContainers, others, context, here)
    if spec.hostNetwork:
        found += _host_network(spec, path, is_pod)
    found += _policies(spec, path)
    if spec.nodeSelector:
        found += validate_labels(spec.nodeSelector, f"{path}.nodeSelector")
    if spec.HasField("securityContext"):
        found += validate_pod_security_context(spec, f"{path}.securityContext")
    found += _scheduling(spec, path)
    found += _identity(spec, path)
    return found + _limits(spec, path)


def _host_network(spec: PodSpec, path: str, is_pod: bool) -> list[FieldError]:
    return [
        invalid(
            f"{path}.containers[{index}].ports[{number}].hostPort",
            port.hostPort,
            "must match `containerPort` when `hostNetwork` is true",
        )
        for index, container in enumerate(spec.containers)
        for number, port in enumerate(container.ports)
        if (is_pod or port.hostPort) and port.hostPort != port.containerPort
    ]


def _policies(spec: PodSpec, path: str) -> list[FieldError]:
    found = []
    for name, supported in (
        ("restartPolicy", _RESTART_POLICIES),
        ("dnsPolicy", _DNS_POLICIES),
    ):
        value = getattr(spec, name)
        if not value:
            found.append(required(f"{path}.{name}"))
        elif value not in supported:
            found.append(not_supported(f"{path}.{name}", value, supported))
    return found


def _scheduling(spec: PodSpec, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    if spec.HasField("affinity"):
        found += validate_affinity(spec.affinity, f"{path}.affinity")
    if spec.HasField("dnsConfig") or spec.dnsPolicy == "None":
        found += _dns_config(spec, f"{path}.dnsConfig")
    for index, gate in enumerate(spec.readinessGates):
        here = f"{path}.readinessGates[{index}].conditionType"
        found += validate_label_name(gate.conditionType, here)
    if spec.schedulingGates:
        found += validate_gates(spec.schedulingGates, f"{path}.schedulingGates")
    if spec.topologySpreadConstraints:
        here = f"{path}.topologySpreadConstraints"
        found += validate_spread(spec.topologySpreadConstraints, here)
    return found


def _dns_config(spec: PodSpec, path: str) -> list[FieldError]:
    config = spec.dnsConfig
    if spec.dnsPolicy == "None":
        if not spec.HasField("dnsConfig"):
            return [required(path, "must provide `dnsConfig` when `dnsPolicy` is None")]
        if not config.nameservers:
            detail = "must provide at least one DNS nameserver when `dnsPolicy` is None"
            return [required(f"{path}.nameservers", detail)]
    found = _searches(list(config.searches), f"{path}.searches")
    if len(config.nameservers) > _NAMESERVERS_MAX:
        detail = f"must not have more than {_NAMESERVERS_MAX} nameservers"
        found.append(invalid(f"{path}.nameservers", list(config.nameservers), detail))
    for index, server in enumerate(config.nameservers):
        here = f"{path}.nameservers[{index}]"
        found += [invalid(here, server, text) for text in names.ip_problems(server)]
    for index, option in enumerate(config.options):
        if not option.name:
            found.append(required(f"{path}.options[{index}]", "must not be empty"))
    return found


def _searches(searches: list[str], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    if len(searches) > _SEARCHES_MAX:
        detail = f"must not have more than {_SEARCHES_MAX} search paths"
        found.append(invalid(path, searches, detail))
    if len(" ".join(searches)) > _SEARCH_CHARS_MAX:
        detail = (
            f"must not have more than {_SEARCH_CHARS_MAX} characters (including spaces) in the "
            "search list"
        )
        found.append(invalid(path, searches, detail))
    for index, search in enumerate(searches):
        domain = search.removesuffix(".")
        texts = names.dns_subdomain_problems(domain)
        found += [invalid(f"{path}[{index}]", domain, text) for text in texts]
    return found


def _identity(spec: PodSpec, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for name in ("serviceAccountName", "nodeName"):
        found += _subdomain(getattr(spec, name), f"{path}.{name}")
    if spec.HasField("activeDeadlineSeconds"):
        value = spec.activeDeadlineSeconds
        if not 1 <= value <= _INT32_MAX:
            here = f"{path}.activeDeadlineSeconds"
            found.append(invalid(here, value, names.range_text(1, _INT32_MAX)))
    for name in ("hostname", "subdomain"):
        value_text = getattr(spec, name)
        if value_text:
            texts = names.dns_label_problems(value_text)
            found += [invalid(f"{path}.{name}", value_text, text) for text in texts]
    return found


def _subdomain(value: str, path: str) -> list[FieldError]:
    if not value:
        return []
    return [invalid(path, value, text) for text in names.dns_subdomain_problems(value)]


def _limits(spec: PodSpec, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    if spec.tolerations:
        found += validate_tolerations(spec.tolerations, f"{path}.tolerations")
    if spec.hostAliases:
        found += _host_aliases(spec.hostAliases, f"{path}.hostAliases")
    for name in ("priorityClassName", "runtimeClassName"):
        found += _subdomain(getattr(spec, name), f"{path}.{name}")
    if spec.HasField("preemptionPolicy") and spec.preemptionPolicy not in _PREEMPTION_POLICIES:
        here = f"{path}.preemptionPolicy"
        found.append(not_supported(here, spec.preemptionPolicy, _PREEMPTION_POLICIES))
    if spec.overhead:
        overhead = ResourceRequirements(limits=spec.overhead)
        found += validate_requirements(overhead, f"{path}.overhead")
    if spec.HasField("os"):
        here = f"{path}.os"
        if not spec.os.name:
            found.append(required(f"{here}.name", "cannot be empty"))
        elif spec.os.name not in {"linux", "windows"}:
            found.append(not_supported(here, spec.os.name, ("linux", "windows")))
    return found


def _host_aliases(aliases: Sequence[HostAlias], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for index, alias in enumerate(aliases):
        here = f"{path}[{index}]"
        found += [invalid(f"{here}.ip", alias.ip, text) for text in names.ip_problems(alias.ip)]
        for number, name in enumerate(alias.hostnames):
            at = f"{here}.hostnames[{number}]"
            found += [invalid(at, name, text) for text in names.dns_subdomain_problems(name)]
    return found
