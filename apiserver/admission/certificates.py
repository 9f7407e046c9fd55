"""Who asks for a certificate, who may approve it and who may sign it.

Source: k8s.io/kubernetes plugin/pkg/admission/certificates/{approval,signing,subjectrestriction},
pkg/registry/certificates/certificates/strategy.go (PrepareForCreate), pkg/certauthorization.
"""

from cryptography import x509
from cryptography.x509.oid import NameOID

from apiserver.admission.interface import Attributes
from apiserver.admission.rejection import forbidden
from apiserver.authentication import users
from apiserver.authorization.interface import Attributes as Question
from apiserver.authorization.interface import Authorizer
from apiserver.authorization.messages import quote
from apiserver.verbs.interface import UserInfo
from podpath.api import scheme
from protos.k8s.certificates_v1_pb2 import CertificateSigningRequest

CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client"


class CertificateRequester:
    """Writes into a new request who made it; nobody asks in another's name. Always on."""

    name = "CertificateRequester"

    def handles(self, attributes: Attributes) -> bool:
        return _is_about(attributes, "CREATE", "")

    async def admit(self, attributes: Attributes) -> None:
        csr, user = attributes.object, attributes.user
        assert isinstance(csr, CertificateSigningRequest)
        for field in ("username", "uid", "groups", "extra"):
            csr.spec.ClearField(field)
        csr.spec.username, csr.spec.uid = user.name, user.uid
        csr.spec.groups.extend(user.groups)
        for key, values in user.extra.items():
            csr.spec.extra[key].items.extend(values)


class CertificateApproval:
    """Approving takes the verb `approve` on the signer."""

    name = "CertificateApproval"

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    def handles(self, attributes: Attributes) -> bool:
        return _is_about(attributes, "UPDATE", "approval")

    async def validate(self, attributes: Attributes) -> None:
        signer = _old(attributes).spec.signerName
        if not may_use_signer(self._authorizer, attributes.user, "approve", signer):
            cause = f"user not permitted to approve requests with signerName {quote(signer)}"
            raise forbidden(attributes, cause)


class CertificateSigning:
    """Writing the certificate takes the verb `sign` on the signer."""

    name = "CertificateSigning"

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    def handles(self, attributes: Attributes) -> bool:
        return _is_about(attributes, "UPDATE", "status")

    async def validate(self, attributes: Attributes) -> None:
        old, new = _old(attributes), attributes.object
        assert isinstance(new, CertificateSigningRequest)
        same = old.status.certificate == new.status.certificate
        if same and _failures(old) == _failures(new):
            return
        signer = old.spec.signerName
        if not may_use_signer(self._authorizer, attributes.user, "sign", signer):
            cause = f"user not permitted to sign requests with signerName {quote(signer)}"
            raise forbidden(attributes, cause)


class CertificateSubjectRestriction:
    """Nobody becomes system:masters by a request."""

    name = "CertificateSubjectRestriction"

    def handles(self, attributes: Attributes) -> bool:
        return _is_about(attributes, "CREATE", "")

    async def validate(self, attributes: Attributes) -> None:
        csr = attributes.object
        assert isinstance(csr, CertificateSigningRequest)
        if csr.spec.signerName != CLIENT_SIGNER:
            return
        try:
            subject = x509.load_pem_x509_csr(csr.spec.request).subject
        except ValueError as error:
            raise forbidden(attributes, f"failed to parse CSR: {error}") from None
        groups = {a.value for a in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)}
        if users.MASTERS in groups:
            cause = f"use of {CLIENT_SIGNER} signer with {users.MASTERS} group is not allowed"
            raise forbidden(attributes, cause)


def may_use_signer(authorizer: Authorizer, user: UserInfo, verb: str, signer: str) -> bool:
    """By the signer's name, or by its domain: `example.com/*`."""
    domain = signer.partition("/")[0]
    return any(
        authorizer.authorize(
            Question(user, verb, scheme.CERTIFICATESIGNINGREQUESTS.group, "signers", name=name)
        ).allowed
        for name in (signer, f"{domain}/*")
    )


def _is_about(attributes: Attributes, operation: str, subresource: str) -> bool:
    return (
        attributes.target.resource is scheme.CERTIFICATESIGNINGREQUESTS
        and attributes.operation == operation
        and attributes.target.subresource == subresource
    )


def _old(attributes: Attributes) -> CertificateSigningRequest:
    """Permissions are looked up for what is stored: it says which signer is really meant."""
    assert isinstance(attributes.old_object, CertificateSigningRequest)
    return attributes.old_object


def _failures(csr: CertificateSigningRequest) -> list[str]:
    return [c.status for c in csr.status.conditions if c.type == "Failed"]
