"""The kubelet's Events: who is concerned, and the narrow door they leave by.

Source: pkg/kubelet/events/event.go, pkg/kubelet/container/ref.go.
"""

from typing import Protocol

from podpath.api.scheme import PODS
from podpath.client.event_recorder import reference_to
from protos.k8s import core_v1_pb2 as core

NORMAL, WARNING = "Normal", "Warning"


class Recorder(Protocol):
    """What of EventRecorder the kubelet uses."""

    def event_for(
        self, involved: core.ObjectReference, event_type: str, reason: str, message: str
    ) -> None: ...


class NoEvents:
    """Tells nobody: for simulated nodes."""

    def event_for(
        self, involved: core.ObjectReference, event_type: str, reason: str, message: str
    ) -> None:
        """Drops it."""


class PodEvents:
    """Events about Pods and their containers."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._silent = isinstance(recorder, NoEvents)

    def pod(self, pod: core.Pod, event_type: str, reason: str, message: str) -> None:
        if not self._silent:
            self._recorder.event_for(reference_to(PODS, pod), event_type, reason, message)

    def container(
        self, pod: core.Pod, name: str, event_type: str, reason: str, message: str
    ) -> None:
        if not self._silent:
            reference = reference_to(PODS, pod, field_path(pod, name))
            self._recorder.event_for(reference, event_type, reason, message)


def field_path(pod: core.Pod, name: str) -> str:
    """`spec.containers{app}`."""
    if any(c.name == name for c in pod.spec.initContainers):
        return f"spec.initContainers{{{name}}}"
    if any(c.ephemeralContainerCommon.name == name for c in pod.spec.ephemeralContainers):
        return f"spec.ephemeralContainers{{{name}}}"
    return f"spec.containers{{{name}}}"
