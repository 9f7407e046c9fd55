"""What CertificateSigningRequests ask for and which of them are in order. Pure.

Source: k8s.io/kubernetes pkg/apis/certificates/helpers.go, pkg/controller/certificates/
{certificate_controller_utils,signer/signer,approver/sarapprove}.go.
"""

from collections.abc import Callable, Mapping, Sequence

from podpath.component_base import certificate_requests
from podpath.component_base.certificate_requests import Requested
from protos.k8s.authorization_v1_pb2 import SubjectAccessReview
from protos.k8s.certificates_v1_pb2 import CertificateSigningRequest
from protos.k8s.core_v1_pb2 import Node

CLIENT = "kubernetes.io/kube-apiserver-client"
KUBELET_CLIENT = "kubernetes.io/kube-apiserver-client-kubelet"
KUBELET_SERVING = "kubernetes.io/kubelet-serving"

NODES_GROUP = "system:nodes"
NODE_PREFIX = "system:node:"
_OPTIONAL = "key encipherment"
_CLIENT_USAGES = frozenset({"digital signature", "client auth"})
_SERVING_USAGES = frozenset({"digital signature", "server auth"})


def has_condition(csr: CertificateSigningRequest, *types: str) -> bool:
    return any(condition.type in types for condition in csr.status.conditions)


def is_open(csr: CertificateSigningRequest) -> bool:
    """True if nobody has decided yet."""
    return not has_condition(csr, "Approved", "Denied") and not csr.status.certificate


def is_to_be_signed(csr: CertificateSigningRequest) -> bool:
    approved = has_condition(csr, "Approved") and not has_condition(csr, "Denied", "Failed")
    return approved and not csr.status.certificate and csr.spec.signerName in SIGNERS


def _is_node(requested: Requested) -> bool:
    return requested.organizations == (NODES_GROUP,) and requested.common_name.startswith(
        NODE_PREFIX
    )


def kubelet_client_problem(requested: Requested, usages: Sequence[str]) -> str:
    """Why this is no request for a kubelet's client certificate; "" if it is one."""
    if not _is_node(requested):
        return f"subject organization is not {NODES_GROUP} or common name not {NODE_PREFIX}..."
    if requested.has_names:
        return "DNS, IP, email and URI subjectAltNames are not allowed"
    if set(usages) - {_OPTIONAL} != _CLIENT_USAGES:
        return "usages did not match digital signature, client auth [, key encipherment]"
    return ""


def kubelet_serving_problem(requested: Requested, usages: Sequence[str]) -> str:
    if not _is_node(requested):
        return f"subject organization is not {NODES_GROUP} or common name not {NODE_PREFIX}..."
    if not requested.dns_names and not requested.ips:
        return "at least one DNS name or IP address is required"
    if requested.other_names:
        return "email and URI subjectAltNames are not allowed"
    if set(usages) - {_OPTIONAL} != _SERVING_USAGES:
        return "usages did not match digital signature, server auth [, key encipherment]"
    return ""


def client_problem(_: Requested, usages: Sequence[str]) -> str:
    if "client auth" not in usages or not set(usages) <= _CLIENT_USAGES | {_OPTIONAL}:
        return "usages did not match client auth [, digital signature, key encipherment]"
    return ""


SIGNERS: Mapping[str, Callable[[Requested, Sequence[str]], str]] = {
    CLIENT: client_problem,
    KUBELET_CLIENT: kubelet_client_problem,
    KUBELET_SERVING: kubelet_serving_problem,
}
"""signer -> what it will not sign. kubernetes.io/legacy-unknown cannot be asked for in v1."""


def problem_of(csr: CertificateSigningRequest) -> str:
    """Why its signer will not sign it; "" when all is well."""
    try:
        requested = certificate_requests.read(csr.spec.request)
    except certificate_requests.RequestError as error:
        return str(error)
    return SIGNERS[csr.spec.signerName](requested, list(csr.spec.usages))


def client_permission(csr: CertificateSigningRequest) -> str:
    """The subresource on which a requester needs `create` for its client certificate.

    `selfnodeclient` for a node that renews its own, else `nodeclient`; "" for other requests.
    """
    if csr.spec.signerName != KUBELET_CLIENT or problem_of(csr):
        return ""
    requested = certificate_requests.read(csr.spec.request)
    return "selfnodeclient" if requested.common_name == csr.spec.username else "nodeclient"


def review_of(csr: CertificateSigningRequest, subresource: str) -> SubjectAccessReview:
    """May the requester have this approved automatically?"""
    review = SubjectAccessReview()
    spec = review.spec
    spec.user, spec.uid = csr.spec.username, csr.spec.uid
    spec.groups.extend(csr.spec.groups)
    for key, values in csr.spec.extra.items():
        spec.extra[key].items.extend(values.items)
    asked = spec.resourceAttributes
    asked.group, asked.resource = "certificates.k8s.io", "certificatesigningrequests"
    asked.verb, asked.version, asked.subresource = "create", "*", subresource
    return review


def serving_node(csr: CertificateSigningRequest) -> str:
    """The node whose kubelet asks for its own serving certificate; "" for other requests."""
    if csr.spec.signerName != KUBELET_SERVING or problem_of(csr):
        return ""
    requested = certificate_requests.read(csr.spec.request)
    is_own = requested.common_name == csr.spec.username and NODES_GROUP in csr.spec.groups
    return csr.spec.username.removeprefix(NODE_PREFIX) if is_own else ""


def covers(node: Node, requested: Requested) -> bool:
    """True if the node itself is known under every name and address that is asked for.

    Its name always counts: only the holder of the node's own certificate gets this far.
    """
    known = {address.address for address in node.status.addresses} | {node.metadata.name}
    return set(requested.dns_names) | set(requested.ips) <= known
