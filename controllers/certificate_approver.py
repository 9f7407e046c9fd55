"""Approves what kubelets ask for: client certificates by RBAC, serving certificates by the Node.

Client certificates as upstream: a SubjectAccessReview on `certificatesigningrequests/nodeclient`
(for joining) or `/selfnodeclient` (for renewal). Upstream leaves serving certificates to an
approver of the cluster's own; here it is this one: a kubelet gets a certificate for names and
addresses that its own Node has in its status, and for no others.

Source: k8s.io/kubernetes pkg/controller/certificates/approver/sarapprove.go.
"""

import logging

from controllers import certificate_requests as requests
from controllers.ownership import modify
from controllers.pods import time_at
from controllers.reconciler import Context, Loop
from podpath.api.scheme import CERTIFICATESIGNINGREQUESTS, NODES, SUBJECTACCESSREVIEWS
from podpath.client.informer import Handlers, ObjectKey, key_of
from podpath.component_base import certificate_requests
from protos.k8s.certificates_v1_pb2 import CertificateSigningRequest
from protos.k8s.core_v1_pb2 import Node

log = logging.getLogger(__name__)

NAME = "certificatesigningrequest-approving-controller"
_MESSAGES = {
    "nodeclient": "Auto approving kubelet client certificate after SubjectAccessReview.",
    "selfnodeclient": "Auto approving self kubelet client certificate after SubjectAccessReview.",
}
_SERVING_MESSAGE = "Auto approving kubelet serving certificate for addresses of its own node."


class CertificateApprover:
    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        csrs = context.informers.informer(CERTIFICATESIGNINGREQUESTS)
        nodes = context.informers.informer(NODES)
        self._csrs, self._nodes = csrs.store, nodes.store
        self._loop: Loop[ObjectKey] = Loop(
            NAME, self.reconcile, clock=context.clock, wait_for=(csrs, nodes)
        )
        csrs.add_handlers(Handlers(self._enqueue, lambda _, new: self._enqueue(new)))
        nodes.add_handlers(Handlers(self._node_changed, lambda _, new: self._node_changed(new)))
        # Requests that ask for what their Node does not have yet, by the Node's name.
        self._waiting: dict[str, set[ObjectKey]] = {}

    async def run(self) -> None:
        await self._loop.run()

    def _enqueue(self, csr: CertificateSigningRequest) -> None:
        if requests.is_open(csr):
            self._loop.queue.add(key_of(csr))

    def _node_changed(self, node: Node) -> None:
        for key in self._waiting.pop(node.metadata.name, ()):
            self._loop.queue.add(key)

    async def reconcile(self, key: ObjectKey) -> None:
        csr = self._csrs.get(*key)
        if csr is None or not requests.is_open(csr):
            return
        if node := requests.serving_node(csr):
            await self._serving(csr, node)
            return
        permission = requests.client_permission(csr)
        if permission:
            review = await self._client.create(
                SUBJECTACCESSREVIEWS, requests.review_of(csr, permission)
            )
            if review.status.allowed:
                await self._approve(csr, _MESSAGES[permission])

    async def _serving(self, csr: CertificateSigningRequest, name: str) -> None:
        node = self._nodes.get("", name)
        if node is None or not requests.covers(node, certificate_requests.read(csr.spec.request)):
            self._waiting.setdefault(name, set()).add(key_of(csr))
            return
        await self._approve(csr, _SERVING_MESSAGE)

    async def _approve(self, csr: CertificateSigningRequest, message: str) -> None:
        def change(live: CertificateSigningRequest) -> bool:
            if not requests.is_open(live):
                return False
            condition = live.status.conditions.add(
                type="Approved", status="True", reason="AutoApproved", message=message
            )
            condition.lastUpdateTime.CopyFrom(time_at(self._clock.now().timestamp()))
            return True

        await modify(
            self._client,
            CERTIFICATESIGNINGREQUESTS,
            csr.metadata,
            change,
            subresource="approval",
        )
        log.info("request approved", extra={"csr": csr.metadata.name, "user": csr.spec.username})
