"""What several plugins ask about Pods."""

from collections.abc import Iterable, Iterator

from apiserver.admission.interface import Attributes
from podpath.api import scheme
from protos.k8s.core_v1_pb2 import Container, Pod

MIRROR_ANNOTATION = "kubernetes.io/config.mirror"


def is_pod(attributes: Attributes, operations: Iterable[str] = ("CREATE",)) -> bool:
    """True for requests on Pods themselves, not on their subresources."""
    target = attributes.target
    return (
        target.resource is scheme.PODS
        and not target.subresource
        and attributes.operation in operations
    )


def pod_of(attributes: Attributes) -> Pod:
    """The Pod under admission; `is_pod` has said that there is one."""
    assert isinstance(attributes.object, Pod)
    return attributes.object


def containers(pod: Pod) -> Iterator[tuple[str, Container]]:
    """Init containers, then containers, with the words that messages have for them."""
    for container in pod.spec.initContainers:
        yield "init container", container
    for container in pod.spec.containers:
        yield "container", container


def is_mirror(pod: Pod) -> bool:
    """True for the API's copy of a Pod that a kubelet read from a file."""
    return MIRROR_ANNOTATION in pod.metadata.annotations
