"""What a request for a Pod's log or shell asks of the kubelet: pure translation.

Source: k8s.io/kubernetes pkg/registry/core/pod/strategy.go (LogLocation, streamLocation),
pkg/apis/core/validation (ValidatePodLogOptions).
"""

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, urlencode

from apiserver.http_gateway import request
from apiserver.http_gateway.request import Query
from podpath.api import errors
from podpath.api.errors import FieldError
from podpath.api.go_text import parse_time

_LOG_FLAGS = ("follow", "previous", "timestamps")
_STREAM_FLAGS = {"stdin": "input", "stdout": "output", "stderr": "error", "tty": "tty"}


def choose_container(pod: Any, container: str) -> str:
    """The container that is meant. Raises: ApiError BadRequest."""
    name, spec = pod.metadata.name, pod.spec
    if container:
        known = (*spec.initContainers, *spec.containers, *_ephemeral(spec))
        if all(c.name != container for c in known):
            raise errors.bad_request(f"container {container} is not valid for pod {name}")
        return container
    if len(spec.containers) == 1:
        return str(spec.containers[0].name)
    text = f"a container name must be specified for pod {name}"
    if spec.containers:
        text += f", choose one of: [{_names(spec.containers)}]"
        if spec.initContainers:
            text += f" or one of the init containers: [{_names(spec.initContainers)}]"
        if spec.ephemeralContainers:
            text += f" or one of the ephemeral containers: [{_names(_ephemeral(spec))}]"
    raise errors.bad_request(text)


def _ephemeral(spec: Any) -> list[Any]:
    return [container.ephemeralContainerCommon for container in spec.ephemeralContainers]


def _names(containers: Iterable[Any]) -> str:
    return " ".join(container.name for container in containers)


def log_path(pod: Any, query: Query) -> str:
    """Raises: ApiError (BadRequest, Invalid)."""
    container = choose_container(pod, request.first(query, "container"))
    parameters = [(flag, "true") for flag in _LOG_FLAGS if request.boolean(query, flag)]
    numbers = {
        name: request.integer(query, name) for name in ("sinceSeconds", "tailLines", "limitBytes")
    }
    since_time = request.first(query, "sinceTime")
    found = _log_errors(numbers, since_time)
    if found:
        raise errors.invalid_object("", "PodLogOptions", pod.metadata.name, found)
    parameters += ((name, str(value)) for name, value in numbers.items() if value is not None)
    if since_time:
        parameters.append(("sinceTime", since_time))
    stream = request.first(query, "stream")
    if stream and stream != "All":
        parameters.append(("stream", stream))
    return _path("containerLogs", pod, container, parameters)


def _log_errors(numbers: dict[str, int | None], since_time: str) -> list[FieldError]:
    found = []
    for name, lowest, text in (
        ("tailLines", 0, "must be greater than or equal to 0"),
        ("limitBytes", 1, "must be greater than 0"),
        ("sinceSeconds", 1, "must be greater than 0"),
    ):
        value = numbers[name]
        if value is not None and value < lowest:
            found.append(errors.invalid(name, value, text))
    if since_time and numbers["sinceSeconds"] is not None:
        text = "at most one of `sinceTime` or `sinceSeconds` may be specified"
        found.append(errors.forbidden_field("", text))
    if since_time and not _is_time(since_time):
        found.append(errors.invalid("sinceTime", since_time, "must be an RFC 3339 time"))
    return found


def _is_time(text: str) -> bool:
    try:
        return parse_time(text) is not None
    except ValueError:
        return False


def stream_path(pod: Any, subresource: str, query: Query) -> str:
    """The kubelet's path for exec, attach and portforward. Raises: ApiError BadRequest."""
    if not pod.spec.nodeName:
        raise errors.bad_request(f"pod {pod.metadata.name} does not have a host assigned")
    if subresource == "portforward":
        ports = ",".join(query.get("ports", ()))
        return _path("portForward", pod, "", [("port", ports)] if ports else [])
    container = choose_container(pod, request.first(query, "container"))
    parameters = [
        (theirs, "1") for ours, theirs in _STREAM_FLAGS.items() if request.boolean(query, ours)
    ]
    if subresource == "exec":
        parameters += (("command", part) for part in query.get("command", ()))
    return _path(subresource, pod, container, parameters)


def _path(head: str, pod: Any, container: str, parameters: list[tuple[str, str]]) -> str:
    parts = [head, pod.metadata.namespace, pod.metadata.name]
    if container:
        parts.append(container)
    path = "/" + "/".join(quote(part, safe="") for part in parts)
    return f"{path}?{urlencode(parameters)}" if parameters else path
