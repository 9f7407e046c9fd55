"""Defaults of Pods and of what stands in Pod templates.

Source: pkg/apis/core/v1/defaults.go (Pod, PodSpec, Container, Probe, HTTPGetAction).
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import chain

from apiserver.defaulting.quantities import round_up
from apiserver.defaulting.volumes import volume_defaults
from protos.k8s.core_v1_pb2 import (
    Container,
    EphemeralContainerCommon,
    HTTPGetAction,
    Lifecycle,
    Pod,
    PodSpec,
    Probe,
)

AnyContainer = Container | EphemeralContainerCommon

_HOST = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_IMAGE = re.compile(
    rf"(?:(?:{_HOST}(?:\.{_HOST})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?/)?"
    rf"{_PART}(?:/{_PART})*"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?"
    r"(?P<digest>@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,})?"
)


def pod_defaults(pod: Pod) -> None:
    """Defaults of a Pod; those of a template are fewer, see `pod_spec_defaults`."""
    spec = pod.spec
    pod_spec_defaults(spec)
    for container in chain(spec.containers, spec.initContainers):
        _requests_from_limits(container)
    if not spec.HasField("enableServiceLinks"):
        spec.enableServiceLinks = True
    if spec.hostNetwork:
        _host_ports(chain(spec.containers, spec.initContainers))
    if spec.HasField("resources") and spec.resources.limits:
        _pod_requests(spec)


def pod_spec_defaults(spec: PodSpec) -> None:
    """Defaults that a Pod and a template share."""
    if not spec.dnsPolicy:
        spec.dnsPolicy = "ClusterFirst"
    if not spec.restartPolicy:
        spec.restartPolicy = "Always"
    if not spec.HasField("securityContext"):
        spec.securityContext.SetInParent()
    if not spec.HasField("terminationGracePeriodSeconds"):
        spec.terminationGracePeriodSeconds = 30
    if not spec.schedulerName:
        spec.schedulerName = "default-scheduler"
    for volume in spec.volumes:
        volume_defaults(volume)
    for container in chain(spec.initContainers, spec.containers):
        container_defaults(container)
    for ephemeral in spec.ephemeralContainers:
        container_defaults(ephemeral.ephemeralContainerCommon)
    if spec.overhead:
        round_up(spec.overhead)


def container_defaults(container: AnyContainer) -> None:
    if not container.imagePullPolicy:
        latest = image_tag(container.image) == "latest"
        container.imagePullPolicy = "Always" if latest else "IfNotPresent"
    if not container.terminationMessagePath:
        container.terminationMessagePath = "/dev/termination-log"
    if not container.terminationMessagePolicy:
        container.terminationMessagePolicy = "File"
    for port in container.ports:
        port.protocol = port.protocol or "TCP"
    _environment_defaults(container)
    if container.HasField("resources"):
        round_up(container.resources.limits)
        round_up(container.resources.requests)
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if container.HasField(name):
            _probe_defaults(getattr(container, name))
    if container.HasField("lifecycle"):
        _lifecycle_defaults(container.lifecycle)


def _environment_defaults(container: AnyContainer) -> None:
    for variable in container.env:
        if variable.HasField("valueFrom") and variable.valueFrom.HasField("fieldRef"):
            field = variable.valueFrom.fieldRef
            field.apiVersion = field.apiVersion or "v1"


@lru_cache(maxsize=1024)
def image_tag(image: str) -> str:
    """The tag an image is pulled by: `latest` if the name has neither tag nor digest, empty if
    it has only a digest or is no image name at all."""
    match = _IMAGE.fullmatch(image)
    if match is None:
        return ""
    return match["tag"] or ("" if match["digest"] else "latest")


def _probe_defaults(probe: Probe) -> None:
    probe.timeoutSeconds = probe.timeoutSeconds or 1
    probe.periodSeconds = probe.periodSeconds or 10
    probe.successThreshold = probe.successThreshold or 1
    probe.failureThreshold = probe.failureThreshold or 3
    if probe.handler.HasField("httpGet"):
        _http_get_defaults(probe.handler.httpGet)
    if probe.handler.HasField("grpc") and not probe.handler.grpc.HasField("service"):
        probe.handler.grpc.service = ""


def _lifecycle_defaults(lifecycle: Lifecycle) -> None:
    for name in ("postStart", "preStop"):
        if lifecycle.HasField(name) and getattr(lifecycle, name).HasField("httpGet"):
            _http_get_defaults(getattr(lifecycle, name).httpGet)


def _http_get_defaults(action: HTTPGetAction) -> None:
    action.path = action.path or "/"
    action.scheme = action.scheme or "HTTP"


def _requests_from_limits(container: Container) -> None:
    if not container.HasField("resources"):
        return
    requests, limits = container.resources.requests, container.resources.limits
    for name in limits:
        if name not in requests:
            requests[name].CopyFrom(limits[name])


def _pod_requests(spec: PodSpec) -> None:
    """Requests of the whole Pod from its limits, where no container asks for the resource."""
    requests, limits = spec.resources.requests, spec.resources.limits
    asked = {name for c in spec.containers for name in c.resources.requests}
    for name in limits:
        supported = name in {"cpu", "memory"} or name.startswith("hugepages-")
        if supported and name not in requests and name not in asked:
            requests[name].CopyFrom(limits[name])


def _host_ports(containers: Iterable[Container]) -> None:
    for container in containers:
        for port in container.ports:
            port.hostPort = port.hostPort or port.containerPort
