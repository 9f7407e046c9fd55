"""Every active namespace has the ServiceAccount `default`.

Source: k8s.io/kubernetes pkg/controller/serviceaccount/serviceaccounts_controller.go.
"""

from controllers.reconciler import Context, Loop, Requeue
from podpath.api.errors import ApiError
from podpath.api.scheme import NAMESPACES, SERVICEACCOUNTS
from podpath.client.informer import Handlers, ObjectKey, key_of
from protos.k8s.core_v1_pb2 import Namespace, ServiceAccount

NAME = "serviceaccount-controller"
DEFAULT_ACCOUNT = "default"


class ServiceAccountController:
    def __init__(self, context: Context) -> None:
        self._client = context.client
        namespaces = context.informers.informer(NAMESPACES)
        accounts = context.informers.informer(SERVICEACCOUNTS)
        self._namespaces, self._accounts = namespaces.store, accounts.store
        self._loop: Loop[ObjectKey] = Loop(
            NAME, self.reconcile, clock=context.clock, wait_for=(namespaces, accounts)
        )
        namespaces.add_handlers(Handlers(self._enqueue, lambda _, new: self._enqueue(new)))
        accounts.add_handlers(Handlers(on_delete=self._account_deleted))

    async def run(self) -> None:
        await self._loop.run()

    def _enqueue(self, namespace: Namespace) -> None:
        self._loop.queue.add(key_of(namespace))

    def _account_deleted(self, account: ServiceAccount) -> None:
        if account.metadata.name == DEFAULT_ACCOUNT:
            self._loop.queue.add(ObjectKey("", account.metadata.namespace))

    async def reconcile(self, key: ObjectKey) -> Requeue | None:
        namespace = self._namespaces.get(*key)
        if namespace is None or not is_active(namespace):
            return None
        if self._accounts.get(key.name, DEFAULT_ACCOUNT) is not None:
            return None
        account = ServiceAccount()
        account.metadata.namespace, account.metadata.name = key.name, DEFAULT_ACCOUNT
        try:
            await self._client.create(SERVICEACCOUNTS, account)
        except ApiError as error:
            if not is_settled(error):
                raise
        return None


def is_active(namespace: Namespace) -> bool:
    """True unless the namespace is on its way out."""
    meta = namespace.metadata
    return namespace.status.phase != "Terminating" and not meta.HasField("deletionTimestamp")


def is_settled(error: ApiError) -> bool:
    """True if a creation failed because it is there already, or its namespace is leaving."""
    if error.reason in ("AlreadyExists", "NotFound"):
        return True
    return any(cause.reason == "NamespaceTerminating" for cause in error.status.details.causes)
