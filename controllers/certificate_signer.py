"""Signs approved CertificateSigningRequests with the cluster's authority, and removes old ones.

Source: k8s.io/kubernetes pkg/controller/certificates/signer/signer.go, cleaner/cleaner.go.
"""

import logging
from datetime import timedelta

from controllers import certificate_requests as requests
from controllers.ownership import modify
from controllers.reconciler import Context, Loop, Requeue
from podpath.api.errors import ApiError
from podpath.api.scheme import CERTIFICATESIGNINGREQUESTS
from podpath.client.informer import Handlers, ObjectKey, key_of
from podpath.component_base import certificate_requests
from podpath.component_base.certificates import KeyPair
from protos.k8s.certificates_v1_pb2 import CertificateSigningRequest

log = logging.getLogger(__name__)

NAME = "certificatesigningrequest-signing-controller"
CLEANER = "certificatesigningrequest-cleaner-controller"

CLEAN_PERIOD_S = 600.0
_KEEP_DECIDED_S = 3600.0
_KEEP_PENDING_S = 24 * 3600.0


class CertificateSigner:
    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        authority = context.settings.signing_authority
        assert authority is not None, "the manager starts no signer without an authority"
        self._authority: KeyPair = authority
        self._duration = timedelta(seconds=context.settings.signing_duration_s)
        csrs = context.informers.informer(CERTIFICATESIGNINGREQUESTS)
        self._csrs = csrs.store
        self._loop: Loop[ObjectKey] = Loop(
            NAME, self.reconcile, clock=context.clock, wait_for=(csrs,)
        )
        csrs.add_handlers(Handlers(self._enqueue, lambda _, new: self._enqueue(new)))

    async def run(self) -> None:
        await self._loop.run()

    def _enqueue(self, csr: CertificateSigningRequest) -> None:
        if requests.is_to_be_signed(csr):
            self._loop.queue.add(key_of(csr))

    async def reconcile(self, key: ObjectKey) -> Requeue | None:
        csr = self._csrs.get(*key)
        if csr is None or not requests.is_to_be_signed(csr):
            return None
        problem, certificate = requests.problem_of(csr), b""
        if not problem:
            try:
                certificate = self._sign(csr)
            except certificate_requests.RequestError as error:
                problem = str(error)

        def change(live: CertificateSigningRequest) -> bool:
            if not requests.is_to_be_signed(live):
                return False
            if problem:
                live.status.conditions.add(
                    type="Failed",
                    status="True",
                    reason="SignerValidationFailure",
                    message=problem,
                )
            else:
                live.status.certificate = certificate
            return True

        await modify(
            self._client, CERTIFICATESIGNINGREQUESTS, csr.metadata, change, subresource="status"
        )
        return None

    def _sign(self, csr: CertificateSigningRequest) -> bytes:
        """No longer than was asked for, nor than the flag allows."""
        validity = self._duration
        if csr.spec.HasField("expirationSeconds"):
            validity = min(validity, timedelta(seconds=csr.spec.expirationSeconds))
        return certificate_requests.sign(
            self._authority,
            csr.spec.request,
            list(csr.spec.usages),
            now=self._clock.now(),
            validity=validity,
        )


class CertificateCleaner:
    """Requests are of no use once their certificate was fetched, or nobody decided for a day."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._informer = context.informers.informer(CERTIFICATESIGNINGREQUESTS)

    async def run(self) -> None:
        await self._informer.wait_synced()
        while True:
            now_s = self._clock.now().timestamp()
            for csr in self._informer.store.list():
                if is_stale(csr, now_s):
                    await self._delete(csr)
            await self._clock.sleep(CLEAN_PERIOD_S)

    async def _delete(self, csr: CertificateSigningRequest) -> None:
        try:
            await self._client.delete(CERTIFICATESIGNINGREQUESTS, "", csr.metadata.name)
        except ApiError as error:
            log.warning("request not removed", extra={"error": str(error)})


def is_stale(csr: CertificateSigningRequest, now_s: float) -> bool:
    """Decided an hour ago or more, or waiting for a day."""
    decided = [
        c.lastUpdateTime.seconds
        for c in csr.status.conditions
        if c.type in ("Approved", "Denied", "Failed") and c.lastUpdateTime.seconds
    ]
    if decided:
        return now_s - max(decided) > _KEEP_DECIDED_S
    return now_s - csr.metadata.creationTimestamp.seconds > _KEEP_PENDING_S
