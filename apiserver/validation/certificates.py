"""What is wrong with a CertificateSigningRequest.

Source: k8s.io/kubernetes pkg/apis/certificates/validation/validation.go.
"""

from collections.abc import Sequence

from cryptography import x509

from podpath.api import names
from podpath.api.errors import (
    FieldError,
    duplicate,
    forbidden_field,
    invalid,
    not_supported,
    required,
)
from protos.k8s.certificates_v1_pb2 import CertificateSigningRequest

APPROVED, DENIED, FAILED = "Approved", "Denied", "Failed"
EXPIRATION_SECONDS_MIN = 600
LEGACY_SIGNER = "kubernetes.io/legacy-unknown"
USAGES = (
    "any", "cert sign", "client auth", "code signing", "content commitment", "crl sign",
    "data encipherment", "decipher only", "digital signature", "email protection",
    "encipher only", "ipsec end system", "ipsec tunnel", "ipsec user", "key agreement",
    "key encipherment", "microsoft sgc", "netscape sgc", "ocsp signing", "s/mime",
    "server auth", "signing", "timestamping",
)  # fmt: skip


def validate_request(csr: CertificateSigningRequest) -> list[FieldError]:
    """A new request."""
    spec = csr.spec
    found: list[FieldError] = []
    problem = _request_problem(spec.request)
    if problem:
        found.append(invalid("spec.request", "", problem))
    found += _usages(list(spec.usages))
    if not spec.signerName:
        found.append(required("spec.signerName"))
    elif spec.signerName == LEGACY_SIGNER:
        detail = "the legacy signerName is not allowed via this API version"
        found.append(invalid("spec.signerName", spec.signerName, detail))
    elif not _is_signer_name(spec.signerName):
        detail = "must be a fully qualified domain and path of the form 'example.com/signer-name'"
        found.append(invalid("spec.signerName", spec.signerName, detail))
    if spec.HasField("expirationSeconds") and spec.expirationSeconds < EXPIRATION_SECONDS_MIN:
        detail = "may not specify a duration less than 600 seconds (10 minutes)"
        found.append(invalid("spec.expirationSeconds", spec.expirationSeconds, detail))
    return found + validate_conditions(csr)


def validate_conditions(csr: CertificateSigningRequest) -> list[FieldError]:
    found: list[FieldError] = []
    conditions = csr.status.conditions
    for i, condition in enumerate(conditions):
        here = f"status.conditions[{i}]"
        if not condition.type:
            found.append(required(f"{here}.type"))
        if not condition.status:
            found.append(required(f"{here}.status"))
        elif condition.type in (APPROVED, DENIED, FAILED) and condition.status != "True":
            found.append(not_supported(f"{here}.status", condition.status, ("True",)))
    types = [condition.type for condition in conditions]
    if APPROVED in types and DENIED in types:
        detail = "Approved and Denied conditions are mutually exclusive"
        found.append(invalid("status.conditions", "", detail))
    return found


def validate_condition_changes(
    new: CertificateSigningRequest, old: CertificateSigningRequest, *, may_approve: bool
) -> list[FieldError]:
    """Decisions stay, and only the subresource `approval` adds them."""
    found: list[FieldError] = []
    for type_ in (APPROVED, DENIED, FAILED):
        before, after = _count(old, type_), _count(new, type_)
        if after < before:
            detail = f'updates may not remove a condition of type "{type_}"'
            found.append(forbidden_field("status.conditions", detail))
        if after > before and type_ != FAILED and not may_approve:
            detail = f'updates may not add a condition of type "{type_}"'
            found.append(forbidden_field("status.conditions", detail))
    return found


def validate_certificate_change(
    new: CertificateSigningRequest, old: CertificateSigningRequest
) -> list[FieldError]:
    """A certificate is set once, and is one."""
    if new.status.certificate == old.status.certificate:
        return []
    if old.status.certificate:
        detail = "updates may not modify existing certificate content"
        return [forbidden_field("status.certificate", detail)]
    try:
        certificates = x509.load_pem_x509_certificates(new.status.certificate)
    except ValueError as error:
        return [invalid("status.certificate", "<certificate data>", str(error))]
    if not certificates:
        detail = "must contain at least one CERTIFICATE PEM block"
        return [invalid("status.certificate", "<certificate data>", detail)]
    return []


def _count(csr: CertificateSigningRequest, type_: str) -> int:
    return sum(condition.type == type_ for condition in csr.status.conditions)


def _request_problem(request: bytes) -> str:
    if b"-----BEGIN CERTIFICATE REQUEST-----" not in request:
        return "PEM block type must be CERTIFICATE REQUEST"
    try:
        parsed = x509.load_pem_x509_csr(request)
        if not parsed.is_signature_valid:
            return "the request's signature is not valid"
    except (ValueError, TypeError) as error:
        return str(error)
    return ""


def _usages(usages: Sequence[str]) -> list[FieldError]:
    if not usages:
        return [required("spec.usages")]
    found: list[FieldError] = []
    for i, usage in enumerate(usages):
        if usage not in USAGES:
            found.append(not_supported(f"spec.usages[{i}]", usage, USAGES))
        elif usage in usages[:i]:
            found.append(duplicate(f"spec.usages[{i}]", usage))
    return found


def _is_signer_name(text: str) -> bool:
    domain, slash, path = text.partition("/")
    if not slash or not path or len(text) > 571:
        return False
    return "." in domain and not names.dns_subdomain_problems(domain)
