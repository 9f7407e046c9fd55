"""Probes and lifecycle hooks.

Source: pkg/apis/core/validation/validation.go (validateProbe, validateHandler, validateLifecycle).
"""

from apiserver.validation.metadata import NOT_NEGATIVE
from podpath.api import names
from podpath.api.errors import FieldError, forbidden_field, invalid, not_supported, required
from protos.k8s.core_v1_pb2 import (
    HTTPGetAction,
    Lifecycle,
    LifecycleHandler,
    Probe,
    ProbeHandler,
    SleepAction,
)
from protos.k8s.intstr_pb2 import IntOrString

Handler = ProbeHandler | LifecycleHandler
_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc", "sleep")
_COUNTS = (
    "initialDelaySeconds",
    "timeoutSeconds",
    "periodSeconds",
    "successThreshold",
    "failureThreshold",
)


def validate_port(port: IntOrString, path: str) -> list[FieldError]:
    """A port's number or the name of a container's port."""
    if port.type == 1:
        return [invalid(path, port.strVal, text) for text in names.port_name_problems(port.strVal)]
    return [invalid(path, port.intVal, text) for text in names.port_number_problems(port.intVal)]


def validate_probe(probe: Probe, kind: str, grace_s: int, path: str) -> list[FieldError]:
    """`kind` is livenessProbe, readinessProbe or startupProbe."""
    found = _handler(probe.handler, grace_s, path)
    for name in _COUNTS:
        value = getattr(probe, name)
        if value < 0:
            found.append(invalid(f"{path}.{name}", value, NOT_NEGATIVE))
    here = f"{path}.terminationGracePeriodSeconds"
    own_grace = probe.terminationGracePeriodSeconds
    has_grace = probe.HasField("terminationGracePeriodSeconds")
    if has_grace and own_grace <= 0:
        found.append(invalid(here, own_grace, "must be greater than 0"))
    if kind == "readinessProbe":
        if has_grace:
            found.append(invalid(here, own_grace, "must not be set for readinessProbes"))
    elif probe.successThreshold != 1:
        found.append(invalid(f"{path}.successThreshold", probe.successThreshold, "must be 1"))
    return found


def validate_lifecycle(lifecycle: Lifecycle, grace_s: int, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    if lifecycle.HasField("postStart"):
        found += _handler(lifecycle.postStart, grace_s, f"{path}.postStart")
    if lifecycle.HasField("preStop"):
        found += _handler(lifecycle.preStop, grace_s, f"{path}.preStop")
    return found


def _handler(handler: Handler, grace_s: int, path: str) -> list[FieldError]:
    known = handler.DESCRIPTOR.fields_by_name
    given = [name for name in _HANDLERS if name in known and handler.HasField(name)]
    if not given:
        return [required(path, "must specify a handler type")]
    found = _action(handler, given[0], grace_s, f"{path}.{given[0]}")
    found += [
        forbidden_field(f"{path}.{name}", "may not specify more than 1 handler type")
        for name in given[1:]
    ]
    return found


def _action(handler: Handler, name: str, grace_s: int, path: str) -> list[FieldError]:
    action = getattr(handler, name)
    match name:
        case "exec":
            return [] if action.command else [required(f"{path}.command")]
        case "httpGet":
            return _http_get(action, path)
        case "tcpSocket":
            return validate_port(action.port, f"{path}.port")
        case "grpc":
            problems = names.port_number_problems(action.port)
            return [invalid(f"{path}.port", action.port, text) for text in problems]
        case _:
            return _sleep(action, grace_s, path)


def _sleep(action: SleepAction, grace_s: int, path: str) -> list[FieldError]:
    if 0 <= action.seconds <= grace_s:
        return []
    detail = f"must be non-negative and less than terminationGracePeriodSeconds ({grace_s})"
    return [invalid(path, action.seconds, detail)]


def _http_get(action: HTTPGetAction, path: str) -> list[FieldError]:
    found = [] if action.path else [required(f"{path}.path")]
    found += validate_port(action.port, f"{path}.port")
    if action.scheme not in {"HTTP", "HTTPS"}:
        found.append(not_supported(f"{path}.scheme", action.scheme, ("HTTP", "HTTPS")))
    for header in action.httpHeaders:
        found += [
            invalid(f"{path}.httpHeaders", header.name, problem)
            for problem in names.header_name_problems(header.name)
        ]
    return found
