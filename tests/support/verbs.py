"""An API server in this process over MemoryStorage: its verbs, or its gRPC door."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from apiserver.assembly import Policy, make_caches, make_chain
from apiserver.authentication.users import LOOPBACK
from apiserver.authorization.interface import Attributes, Decision
from apiserver.caches import Caches
from apiserver.grpc_server import GrpcServer, credentials
from apiserver.handler_chain import HandlerChain
from apiserver.storage.memory import MemoryStorage
from apiserver.verbs.creation import NO_TRACING, Tracing
from apiserver.verbs.interface import Target, UserInfo
from podpath.api import scheme
from podpath.client.grpc import GrpcClient
from podpath.client.kubeconfig import KubeConfig
from podpath.component_base.clock import Clock, SystemClock
from podpath.component_base.pki import ClusterNames, ensure_cluster_pki
from protos.k8s.core_v1_pb2 import Namespace
from tests.support.etcd import free_ports


class AllowAll:
    """Every request is the loopback user's, and allowed. `refuse` holds verbs that are not."""

    def __init__(self) -> None:
        self.refuse: set[str] = set()

    def authenticate(self, peer_cert_der: bytes | None, authorization: str | None) -> UserInfo:
        return LOOPBACK

    def authorize(self, attributes: Attributes) -> Decision:
        return Decision(attributes.verb not in self.refuse)


@dataclass(frozen=True)
class Local:
    """The parts that tests look at."""

    chain: HandlerChain
    caches: Caches
    storage: MemoryStorage
    rules: AllowAll


@asynccontextmanager
async def local_apiserver(
    *plugins: object,
    clock: Clock | None = None,
    storage: MemoryStorage | None = None,
    tracing: Tracing = NO_TRACING,
) -> AsyncIterator[Local]:
    """Without doors, validation of names or authentication; the namespace default exists."""
    clock = clock or SystemClock()
    storage = storage or MemoryStorage(clock)
    rules = AllowAll()
    caches = make_caches(storage, clock)
    chain = make_chain(storage, caches, Policy(rules, plugins), clock, tracing=tracing)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(caches.run())
        await caches.synced()
        default = Namespace()
        default.metadata.name = "default"
        await chain.create(LOOPBACK, Target(scheme.NAMESPACES), default)
        try:
            yield Local(chain, caches, storage, rules)
        finally:
            running.cancel()


@asynccontextmanager
async def local_grpc_client(directory: Path) -> AsyncIterator[GrpcClient]:
    """A client of such a server, through TLS and the gRPC door."""
    pki = ensure_cluster_pki(directory, ClusterNames(), SystemClock())
    cert, key = pki.apiserver.certificate.read_bytes(), pki.apiserver.key.read_bytes()
    address = f"127.0.0.1:{free_ports(1)[0]}"
    async with local_apiserver() as local:
        door = GrpcServer(local.chain, local.rules)
        await door.start({address: credentials(cert, key, b"")})
        ca = pki.ca.certificate.read_bytes()
        try:
            async with GrpcClient(KubeConfig("", address, ca=ca)) as client:
                yield client
        finally:
            await door.stop(0)
