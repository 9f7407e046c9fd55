"""Every active namespace has the ConfigMap `kube-root-ca.crt`, by which Pods trust the API server.

Source: k8s.io/kubernetes pkg/controller/certificates/rootcacertpublisher/publisher.go.
"""

from controllers.ownership import modify
from controllers.reconciler import Context, Loop, Requeue
from controllers.serviceaccount import is_active, is_settled
from podpath.api.errors import ApiError
from podpath.api.scheme import CONFIGMAPS, NAMESPACES
from podpath.client.informer import Handlers, ObjectKey, key_of
from protos.k8s.core_v1_pb2 import ConfigMap, Namespace

NAME = "root-ca-certificate-publisher-controller"
CONFIG_MAP = "kube-root-ca.crt"
DATA_KEY = "ca.crt"
DESCRIPTION_KEY = "kubernetes.io/description"
DESCRIPTION = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal "
    "endpoints such as the internal service IP or kubernetes.default.svc. No other usage is "
    "guaranteed across distributions of Kubernetes clusters."
)


class RootCaPublisher:
    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._bundle = context.settings.root_ca.decode("ascii")
        namespaces = context.informers.informer(NAMESPACES)
        maps = context.informers.informer(CONFIGMAPS)
        self._namespaces, self._maps = namespaces.store, maps.store
        self._loop: Loop[ObjectKey] = Loop(
            NAME, self.reconcile, clock=context.clock, wait_for=(namespaces, maps)
        )
        namespaces.add_handlers(Handlers(self._enqueue, lambda _, new: self._enqueue(new)))
        maps.add_handlers(
            Handlers(on_update=lambda _, new: self._map_changed(new), on_delete=self._map_changed)
        )

    async def run(self) -> None:
        await self._loop.run()

    def _enqueue(self, namespace: Namespace) -> None:
        self._loop.queue.add(key_of(namespace))

    def _map_changed(self, config_map: ConfigMap) -> None:
        if config_map.metadata.name == CONFIG_MAP:
            self._loop.queue.add(ObjectKey("", config_map.metadata.namespace))

    async def reconcile(self, key: ObjectKey) -> Requeue | None:
        namespace = self._namespaces.get(*key)
        if namespace is None or not is_active(namespace):
            return None
        present = self._maps.get(key.name, CONFIG_MAP)
        if present is not None:
            if not self._is_right(present):
                await modify(self._client, CONFIGMAPS, present.metadata, self._mend)
            return None
        config_map = ConfigMap()
        config_map.metadata.namespace, config_map.metadata.name = key.name, CONFIG_MAP
        self._mend(config_map)
        try:
            await self._client.create(CONFIGMAPS, config_map)
        except ApiError as error:
            if not is_settled(error):
                raise
        return None

    def _is_right(self, config_map: ConfigMap) -> bool:
        return (
            dict(config_map.data) == {DATA_KEY: self._bundle}
            and config_map.metadata.annotations.get(DESCRIPTION_KEY) == DESCRIPTION
        )

    def _mend(self, config_map: ConfigMap) -> bool:
        if self._is_right(config_map):
            return False
        config_map.data.clear()
        config_map.data[DATA_KEY] = self._bundle
        config_map.metadata.annotations[DESCRIPTION_KEY] = DESCRIPTION
        return True
