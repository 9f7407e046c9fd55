"""PKCS #10 requests: made by those who want a certificate, read and signed by those who give it.

Source: k8s.io/client-go util/certificate/csr; k8s.io/kubernetes pkg/controller/certificates/
{authority,signer}.
"""

import ipaddress
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from podpath.component_base.certificates import KeyPair, Profile

BACKDATE_MAX = timedelta(minutes=5)
_BACKDATE_PART = 10  # a short-lived certificate is backdated by a tenth of its life at most

_EXTENDED = {
    "server auth": ExtendedKeyUsageOID.SERVER_AUTH,
    "client auth": ExtendedKeyUsageOID.CLIENT_AUTH,
    "code signing": ExtendedKeyUsageOID.CODE_SIGNING,
    "email protection": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "timestamping": ExtendedKeyUsageOID.TIME_STAMPING,
    "ocsp signing": ExtendedKeyUsageOID.OCSP_SIGNING,
}
_KEY_USAGE = {
    "digital signature": "digital_signature",
    "signing": "digital_signature",
    "content commitment": "content_commitment",
    "key encipherment": "key_encipherment",
    "data encipherment": "data_encipherment",
    "key agreement": "key_agreement",
    "cert sign": "key_cert_sign",
    "crl sign": "crl_sign",
    "encipher only": "encipher_only",
    "decipher only": "decipher_only",
}

_PUBLIC_KEYS = (rsa.RSAPublicKey, ec.EllipticCurvePublicKey, ed25519.Ed25519PublicKey)


class RequestError(ValueError):
    """The request cannot be read or signed. The message says why."""


@dataclass(frozen=True, slots=True)
class Requested:
    """What a request asks for. `other_names` are e-mail addresses, URIs and stranger things."""

    common_name: str
    organizations: tuple[str, ...]
    dns_names: tuple[str, ...] = ()
    ips: tuple[str, ...] = ()
    other_names: tuple[str, ...] = ()

    @property
    def has_names(self) -> bool:
        return bool(self.dns_names or self.ips or self.other_names)


def make(key: ec.EllipticCurvePrivateKey, profile: Profile) -> bytes:
    """A request (PEM) for a certificate of this profile; the usages are told beside it."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name(
            [
                *(x509.NameAttribute(NameOID.ORGANIZATION_NAME, o) for o in profile.organizations),
                x509.NameAttribute(NameOID.COMMON_NAME, profile.common_name),
            ]
        )
    )
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in profile.dns_names]
    names += [x509.IPAddress(ipaddress.ip_address(ip)) for ip in profile.ips]
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def read(pem: bytes) -> Requested:
    """Raises: RequestError."""
    request = _load(pem)
    subject = request.subject
    names = [str(a.value) for a in subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    groups = [str(a.value) for a in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    dns: list[str] = []
    ips: list[str] = []
    others: list[str] = []
    for name in _alternative_names(request):
        if isinstance(name, x509.DNSName):
            dns.append(name.value)
        elif isinstance(name, x509.IPAddress):
            ips.append(str(name.value))
        else:
            others.append(str(name.value))
    return Requested(
        names[-1] if names else "", tuple(groups), tuple(dns), tuple(ips), tuple(others)
    )


def sign(
    ca: KeyPair, pem: bytes, usages: Sequence[str], *, now: datetime, validity: timedelta
) -> bytes:
    """The certificate (PEM) that a request asks for, never outliving its authority.

    Subject, alternative names and public key are the request's, usages those given.
    Raises: RequestError.
    """
    request = _load(pem)
    unknown = [usage for usage in usages if usage not in _EXTENDED and usage not in _KEY_USAGE]
    if unknown:
        raise RequestError(f"unrecognized usage values: {', '.join(unknown)}")
    start = now - min(BACKDATE_MAX, validity / _BACKDATE_PART)
    end = min(now + validity, ca.certificate.not_valid_after_utc)
    if end <= now:
        raise RequestError("the signing authority has expired")
    public_key = request.public_key()
    if not isinstance(public_key, _PUBLIC_KEYS):
        raise RequestError("expected an RSA, EC or Ed25519 key")
    builder = (
        x509.CertificateBuilder()
        .subject_name(request.subject)
        .issuer_name(ca.certificate.subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(_authority_of(ca), critical=False)
    )
    # An extension that allows nothing would make the certificate invalid.
    if basic := {_KEY_USAGE[usage] for usage in usages if usage in _KEY_USAGE}:
        builder = builder.add_extension(_key_usage(basic), critical=True)
    if extended := [_EXTENDED[usage] for usage in usages if usage in _EXTENDED]:
        builder = builder.add_extension(x509.ExtendedKeyUsage(extended), critical=False)
    if names := list(_alternative_names(request)):
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    signed = builder.sign(ca.key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM)


def _load(pem: bytes) -> x509.CertificateSigningRequest:
    try:
        request = x509.load_pem_x509_csr(pem)
        valid = request.is_signature_valid
    except (ValueError, TypeError) as error:
        raise RequestError(f"unable to parse the request: {error}") from error
    if not valid:
        raise RequestError("the request's signature is not valid")
    return request


def _alternative_names(request: x509.CertificateSigningRequest) -> Iterable[x509.GeneralName]:
    try:
        return request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    except ValueError as error:
        raise RequestError(f"unable to parse the request: {error}") from error


def _authority_of(ca: KeyPair) -> x509.AuthorityKeyIdentifier:
    found = ca.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(found.value)


def _key_usage(wanted: Collection[str]) -> x509.KeyUsage:
    return x509.KeyUsage(**{name: name in wanted for name in sorted(set(_KEY_USAGE.values()))})
