"""Certificates and keys: how they are made and kept in files.

EC P-256 throughout. Profiles follow RFC 5280 closely enough for strict verification by Go, OpenSSL
(X509_V_FLAG_X509_STRICT) and Python: critical basic constraints and key usage, subject and
authority key identifiers, names in subjectAltName. `pki.py` says which ones a cluster has.

Source: RFC 5280; k8s.io/client-go util/cert.
"""

import contextlib
import ipaddress
import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

BACKDATE = timedelta(hours=1)  # peers' clocks may be behind ours
LEAF_VALIDITY = timedelta(days=365)
CA_VALIDITY = timedelta(days=3650)
RENEW_BEFORE = timedelta(days=30)


class PkiError(Exception):
    """A file of the PKI cannot be used. The message names it and what to do."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def certificate_pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """PKCS #8, unencrypted."""
        return private_key_pem(self.key)


@dataclass(frozen=True, slots=True)
class Profile:
    """What a leaf certificate says. `ips` are textual addresses; order in `usages` is kept."""

    common_name: str
    organizations: tuple[str, ...] = ()
    dns_names: tuple[str, ...] = ()
    ips: tuple[str, ...] = ()
    server: bool = False
    client: bool = False

    @property
    def usages(self) -> tuple[x509.ObjectIdentifier, ...]:
        chosen = (
            (self.server, ExtendedKeyUsageOID.SERVER_AUTH),
            (self.client, ExtendedKeyUsageOID.CLIENT_AUTH),
        )
        return tuple(usage for wanted, usage in chosen if wanted)


def serving(
    common_name: str,
    dns_names: Iterable[str] = (),
    ips: Iterable[str] = (),
    organizations: Iterable[str] = (),
) -> Profile:
    """A server's certificate."""
    return Profile(common_name, tuple(organizations), tuple(dns_names), tuple(ips), server=True)


def client(common_name: str, organizations: Iterable[str] = ()) -> Profile:
    """A client's certificate: `common_name` is the user, `organizations` its groups."""
    return Profile(common_name, tuple(organizations), client=True)


def private_key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def public_key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def create_ca(common_name: str, now: datetime) -> KeyPair:
    """A self-signed certificate authority, valid for ten years."""
    key = new_key()
    name = _name(common_name, ())
    builder = _builder(name, name, key, now, CA_VALIDITY)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    builder = builder.add_extension(_key_usage(ca=True), critical=True)
    return KeyPair(builder.sign(key, hashes.SHA256()), key)


def issue(ca: KeyPair, profile: Profile, now: datetime) -> KeyPair:
    """A certificate of this profile with a new key, signed by `ca`, valid for a year."""
    key = new_key()
    name = _name(profile.common_name, profile.organizations)
    builder = _builder(name, ca.certificate.subject, key, now, LEAF_VALIDITY)
    builder = builder.add_extension(
        x509.BasicConstraints(ca=False, path_length=None), critical=True
    )
    builder = builder.add_extension(_key_usage(ca=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage(profile.usages), critical=False)
    authority = ca.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority.value),
        critical=False,
    )
    if names := _alternative_names(profile):
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return KeyPair(builder.sign(ca.key, hashes.SHA256()), key)


def _name(common_name: str, organizations: Sequence[str]) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, o) for o in organizations]
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    now: datetime,
    validity: timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + validity)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    # No keyEncipherment: with ECDSA keys it has no meaning.
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative_names(profile: Profile) -> list[x509.GeneralName]:
    dns: list[x509.GeneralName] = [x509.DNSName(name) for name in profile.dns_names]
    return dns + [x509.IPAddress(ipaddress.ip_address(ip)) for ip in profile.ips]


# ---------------------------------------------------------------- files


def write_private(path: Path, data: bytes) -> None:
    """Writes the file whole or not at all, readable by its owner only (0600)."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:  # mkstemp made it 0600
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(temporary).unlink()
        raise


@dataclass(frozen=True, slots=True)
class PairFiles:
    """Where a certificate and its key lie: `STEM.crt`, `STEM.key`."""

    certificate: Path
    key: Path

    @classmethod
    def at(cls, stem: Path) -> "PairFiles":
        return cls(stem.with_name(stem.name + ".crt"), stem.with_name(stem.name + ".key"))

    def load(self) -> KeyPair:
        """Raises: PkiError when a file is missing, unreadable, or they do not belong together."""
        try:
            certificate = x509.load_pem_x509_certificate(self.certificate.read_bytes())
            key = serialization.load_pem_private_key(self.key.read_bytes(), None)
        except (OSError, ValueError) as error:
            raise PkiError(f"{self.certificate} and {self.key}: {error}") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise PkiError(f"{self.key}: expected an EC key")
        if key.public_key() != certificate.public_key():
            raise PkiError(f"{self.key} is not the key of {self.certificate}")
        return KeyPair(certificate, key)

    def save(self, pair: KeyPair) -> None:
        write_private(self.key, pair.key_pem)
        write_private(self.certificate, pair.certificate_pem)


def ensure_ca(files: PairFiles, common_name: str, now: datetime) -> KeyPair:
    """The authority in these files, made when there is none.

    Raises: PkiError when only one of the two is there or they are damaged: a new authority would
    make every certificate in use invalid, so that is the operator's decision.
    """
    if not files.certificate.exists() and not files.key.exists():
        pair = create_ca(common_name, now)
        files.save(pair)
        return pair
    try:
        return files.load()
    except PkiError as error:
        raise PkiError(f"{error}; restore the files, or remove both for a new authority") from error


def ensure_leaf(files: PairFiles, ca: KeyPair, profile: Profile, now: datetime) -> KeyPair:
    """The certificate in these files if it still serves, else a new one in its place."""
    with contextlib.suppress(PkiError):
        pair = files.load()
        if _serves(pair.certificate, ca, profile, now):
            return pair
    pair = issue(ca, profile, now)
    files.save(pair)
    return pair


def _serves(certificate: x509.Certificate, ca: KeyPair, profile: Profile, now: datetime) -> bool:
    """True if the certificate says what the profile wants, and for some time yet."""
    try:
        certificate.verify_directly_issued_by(ca.certificate)
    except (InvalidSignature, ValueError, TypeError):
        return False
    if certificate.not_valid_after_utc < now + RENEW_BEFORE:
        return False
    if certificate.subject != _name(profile.common_name, profile.organizations):
        return False
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    if set(usage) != set(profile.usages):
        return False
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = set(found)
    except x509.ExtensionNotFound:
        names = set()
    return set(_alternative_names(profile)) <= names


def ensure_signing_key(path: Path, public_path: Path) -> ec.EllipticCurvePrivateKey:
    """The key that signs ServiceAccount tokens, made when missing; its public half beside it."""
    if path.exists():
        try:
            key = serialization.load_pem_private_key(path.read_bytes(), None)
        except ValueError as error:
            raise PkiError(f"{path}: {error}") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise PkiError(f"{path}: expected an EC key")
    else:
        key = new_key()
        write_private(path, private_key_pem(key))
    if not public_path.exists():
        write_private(public_path, public_key_pem(key))
    return key
