"""The kubelet's own certificates: asked for when it joins, renewed before they expire.

    bootstrap kubeconfig (token) --CSR--> client certificate --> kubeconfig
    client certificate           --CSR--> next client certificate, serving certificate

A certificate is renewed when 70 to 90 % of its life is over, so that nodes that joined together do
not renew together. Keys never leave the node.

Source: pkg/kubelet/certificate/{kubelet,bootstrap/bootstrap}.go, k8s.io/client-go
util/certificate/certificate_manager.go.
"""

import hashlib
import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from kubelet.config import Config
from podpath.api.errors import ApiError
from podpath.api.scheme import CERTIFICATESIGNINGREQUESTS
from podpath.client import kubeconfig
from podpath.client.grpc import GrpcClient
from podpath.client.interface import Client, EventType, Selection
from podpath.client.kubeconfig import KubeConfig, KubeConfigError
from podpath.component_base import certificate_requests
from podpath.component_base.certificates import (
    Profile,
    client,
    new_key,
    private_key_pem,
    public_key_pem,
    serving,
    write_private,
)
from podpath.component_base.clock import Clock
from protos.k8s.certificates_v1_pb2 import CertificateSigningRequest

log = logging.getLogger(__name__)

CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client-kubelet"
SERVING_SIGNER = "kubernetes.io/kubelet-serving"
CLIENT_USAGES = ("digital signature", "client auth")
SERVING_USAGES = ("digital signature", "server auth")
NODES_GROUP = "system:nodes"

RETRY_S = 1.0
RETRY_MAX_S = 30.0
_RENEW_FROM, _RENEW_SPREAD = 0.7, 0.2


class RefusedError(Exception):
    """The request was denied, or the signer would not sign it."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate chain and its key, PEM."""

    certificate: bytes
    key: bytes

    @property
    def parsed(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self.certificate)


def outcome(csr: CertificateSigningRequest) -> bytes:
    """The certificate, or b"" while it is not there. Raises: RefusedError."""
    for condition in csr.status.conditions:
        if condition.type in ("Denied", "Failed"):
            raise RefusedError(
                f"certificate signing request {csr.metadata.name} is {condition.type.lower()}: "
                f"{condition.reason}: {condition.message}"
            )
    return csr.status.certificate


def renewal_time(certificate: x509.Certificate, rng: random.Random) -> datetime:
    """When 70 to 90 % of its life is over."""
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return start + (end - start) * (_RENEW_FROM + _RENEW_SPREAD * rng.random())


async def request(
    api: Client,
    profile: Profile,
    signer: str,
    usages: Sequence[str],
    clock: Clock,
    key: ec.EllipticCurvePrivateKey,
    name: str = "",
) -> Pair:
    """Asks, and waits until it is approved and signed. Raises: RefusedError, ApiError."""
    csr = CertificateSigningRequest()
    csr.spec.request = certificate_requests.make(key, profile)
    csr.spec.signerName = signer
    csr.spec.usages.extend(usages)
    if name:
        csr.metadata.name = name
    else:
        csr.metadata.generateName = "csr-"
    try:
        csr = await api.create(CERTIFICATESIGNINGREQUESTS, csr)
    except ApiError as error:
        if error.reason != "AlreadyExists":
            raise
        # Ours, from before a restart: its name is a digest of our key.
    log.info("certificate requested", extra={"csr": csr.metadata.name, "signer": signer})
    certificate = await _signed(api, csr.metadata.name, clock)
    return Pair(certificate, private_key_pem(key))


async def _signed(api: Client, name: str, clock: Clock) -> bytes:
    """Watches the one request until it is decided. Raises: RefusedError."""
    selection = Selection(field_selector=f"metadata.name={name}")
    while True:
        try:
            async for events in api.watch(
                CERTIFICATESIGNINGREQUESTS, selection, send_initial_events=True
            ):
                for event in events:
                    if event.type is EventType.DELETED:
                        raise RefusedError(f"certificate signing request {name} was deleted")
                    if event.type is not EventType.BOOKMARK and (found := outcome(event.object)):
                        return found
        except ApiError as error:
            log.warning("request not watched", extra={"csr": name, "error": str(error)})
        await clock.sleep(RETRY_S)


def node_profile(node: str) -> Profile:
    return client(f"system:node:{node}", (NODES_GROUP,))


def serving_profile(node: str, addresses: Sequence[str]) -> Profile:
    return serving(f"system:node:{node}", (node,), addresses, (NODES_GROUP,))


# ---------------------------------------------------------------- joining


async def ensure_kubeconfig(settings: Config, node: str, clock: Clock) -> None:
    """Joins the cluster unless the kubeconfig already holds a certificate that is valid.

    Needs --bootstrap-kubeconfig to do so; without it nothing is done. Tries until it succeeds.
    Raises: KubeConfigError.
    """
    if not settings.bootstrap_kubeconfig or _is_usable(Path(settings.kubeconfig), clock.now()):
        return
    bootstrap = kubeconfig.load(settings.bootstrap_kubeconfig)
    key = _bootstrap_key(Path(settings.cert_dir) / "kubelet-client.key.tmp")
    digest = hashlib.sha256(public_key_pem(key)).hexdigest()[:40]
    delay = RETRY_S
    while True:
        try:
            async with GrpcClient(bootstrap, field_manager="kubelet") as api:
                pair = await request(
                    api,
                    node_profile(node),
                    CLIENT_SIGNER,
                    CLIENT_USAGES,
                    clock,
                    key,
                    f"node-csr-{digest}",
                )
            break
        except ApiError as error:
            log.warning("not joined yet", extra={"error": str(error)})
            await clock.sleep(delay)
            delay = min(delay * 2, RETRY_MAX_S)
    kubeconfig.write(Path(settings.kubeconfig), with_pair(bootstrap, pair), "podpath")
    (Path(settings.cert_dir) / "kubelet-client.key.tmp").unlink(missing_ok=True)
    log.info("joined", extra={"node": node})


def _is_usable(path: Path, now: datetime) -> bool:
    if not path.exists():
        return False
    try:
        certificate = x509.load_pem_x509_certificate(kubeconfig.load(path).cert)
    except (KubeConfigError, ValueError):
        return False
    return now < certificate.not_valid_after_utc


def _bootstrap_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Kept until the certificate is there: a kubelet that restarts goes on with its request."""
    if path.exists():
        try:
            key = serialization.load_pem_private_key(path.read_bytes(), None)
            if isinstance(key, ec.EllipticCurvePrivateKey):
                return key
        except ValueError:
            pass
    made = new_key()
    write_private(path, private_key_pem(made))
    return made


def with_pair(config: KubeConfig, pair: Pair) -> KubeConfig:
    """The same cluster, as whom the certificate names."""
    return replace(config, cert=pair.certificate, key=pair.key, token="", token_file="")


# ---------------------------------------------------------------- renewal


class ClientCertificate:
    """Renews what the kubeconfig holds; the connection goes on with the new certificate."""

    def __init__(
        self, api: GrpcClient, path: Path, node: str, clock: Clock, rng: random.Random
    ) -> None:
        self._api = api
        self._path = path
        self._node = node
        self._clock = clock
        self._rng = rng

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            config = kubeconfig.load(self._path)
            certificate = x509.load_pem_x509_certificate(config.cert)
            await _sleep_until(renewal_time(certificate, self._rng), self._clock)
            pair = await _retried(
                self._api, node_profile(self._node), CLIENT_SIGNER, CLIENT_USAGES, self._clock
            )
            renewed = with_pair(config, pair)
            kubeconfig.write(self._path, renewed, "podpath")
            await self._api.reconnect(renewed)
            log.info("client certificate renewed", extra={"node": self._node})


class ServingCertificate:
    """The server's certificate in `directory`; `current` waits for the first one."""

    def __init__(
        self, api: Client, directory: Path, profile: Profile, clock: Clock, rng: random.Random
    ) -> None:
        self._api = api
        self.file = directory / "kubelet-server-current.pem"
        self._profile = profile
        self._clock = clock
        self._rng = rng

    async def current(self) -> Path:
        """The file with certificate and key: the one that is there if it still serves."""
        pair = self._stored()
        if pair is None:
            await self._renew()
        return self.file

    async def wait_renewed(self) -> Path:
        """Sleeps until it is time, renews, and returns: the file has changed."""
        pair = self._stored()
        if pair is not None:
            await _sleep_until(renewal_time(pair.parsed, self._rng), self._clock)
        await self._renew()
        return self.file

    async def _renew(self) -> None:
        pair = await _retried(self._api, self._profile, SERVING_SIGNER, SERVING_USAGES, self._clock)
        write_private(self.file, pair.certificate + pair.key)
        log.info("serving certificate received", extra={"file": str(self.file)})

    def _stored(self) -> Pair | None:
        try:
            data = self.file.read_bytes()
            certificate = x509.load_pem_x509_certificate(data)
        except (OSError, ValueError):
            return None
        if self._clock.now() >= certificate.not_valid_after_utc:
            return None
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        ips = {str(ip) for ip in names.get_values_for_type(x509.IPAddress)}
        dns = set(names.get_values_for_type(x509.DNSName))
        if not set(self._profile.ips) <= ips or not set(self._profile.dns_names) <= dns:
            return None  # the node has another address now
        return Pair(data, data)


async def _retried(
    api: Client, profile: Profile, signer: str, usages: Sequence[str], clock: Clock
) -> Pair:
    """Asks again, with a new key, until a certificate comes."""
    delay = RETRY_S
    while True:
        try:
            return await request(api, profile, signer, usages, clock, new_key())
        except (ApiError, RefusedError) as error:
            log.warning("no certificate yet", extra={"signer": signer, "error": str(error)})
            await clock.sleep(delay)
            delay = min(delay * 2, RETRY_MAX_S)


async def _sleep_until(moment: datetime, clock: Clock) -> None:
    await clock.sleep(max(0.0, (moment - clock.now()).total_seconds()))
