"""The API server as a process: storage, caches, policy, and both doors; in the order of a start.

    etcd -> caches synced -> bootstrap objects -> gRPC door, HTTPS door -> ready

Source: k8s.io/kubernetes cmd/kube-apiserver/app/server.go.
"""

import asyncio
import gc
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from apiserver import policy
from apiserver.assembly import make_caches, make_chain
from apiserver.authentication import users
from apiserver.bootstrap import kubernetes_service
from apiserver.bootstrap.reconcile import reconcile_bootstrap
from apiserver.caches import Caches
from apiserver.config import Config, read
from apiserver.grpc_server import GrpcServer, credentials
from apiserver.handler_chain import HandlerChain
from apiserver.http_door import https_door
from apiserver.storage.compaction import run_compactor
from apiserver.storage.etcd import EtcdStorage, open_etcd
from apiserver.storage.etcd_client import EtcdConfig, TlsFiles
from apiserver.storage.interface import StorageUnavailableError
from apiserver.verbs.creation import Tracing
from podpath.api.errors import ApiError
from podpath.component_base import serving
from podpath.component_base.clock import Clock, SystemClock
from podpath.component_base.config import ConfigError

_log = logging.getLogger(__name__)

ETCD_WAIT_S = 60.0
BOOTSTRAP_WAIT_S = 60.0
_RETRY_S = 0.5


async def run(config: Config) -> None:
    """Serves until cancelled. Raises: ConfigError, StorageUnavailableError."""
    clock = SystemClock()
    ready = asyncio.Event()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(
            serving.diagnostics(config.diagnostics_socket, ready=ready.is_set)
        )
        storage = await _open_storage(config, clock, stack)
        caches = make_caches(storage, clock)
        rules = policy.make(config, caches, clock)
        chain = make_chain(
            storage,
            caches,
            rules.policy,
            clock,
            service_cluster_ip_range=config.service_cluster_ip_range,
            reads_max=config.max_requests_inflight,
            writes_max=config.max_mutating_requests_inflight,
            tracing=Tracing(
                enabled=bool(config.tracing.endpoint),
                rate_per_million=config.tracing.sampling_rate_per_million,
                annotates=config.pod_traceparent_annotation,
            ),
        )
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(caches.run(), name="caches"),
                tasks.create_task(_compact(config, storage, clock), name="compaction"),
            ]
            try:
                await _bootstrap(config, chain, caches, clock)
                if config.secure_port:
                    running.append(
                        tasks.create_task(
                            kubernetes_service.run(chain, users.LOOPBACK, _place(config), clock),
                            name="kubernetes-service",
                        )
                    )
                async with (
                    _grpc_door(config, chain, rules),
                    https_door(config, chain, rules, clock, ready=lambda: caches.ready),
                ):
                    # What lives until the end is not looked at again by the collector.
                    gc.collect()
                    gc.freeze()
                    ready.set()
                    _log.info(
                        "serving",
                        extra={"https": config.secure_port, "grpc": config.grpc_port},
                    )
                    await asyncio.Event().wait()
            finally:
                ready.clear()
                for task in running:
                    task.cancel()


async def _open_storage(config: Config, clock: Clock, stack: AsyncExitStack) -> EtcdStorage:
    """Waits for etcd, which may still be starting. Raises: StorageUnavailableError."""
    etcd = EtcdConfig(_endpoints(config), _etcd_tls(config))
    deadline = clock.monotonic() + ETCD_WAIT_S
    while True:
        try:
            return await stack.enter_async_context(open_etcd(etcd, clock))
        except StorageUnavailableError as error:
            if clock.monotonic() > deadline:
                raise
            _log.warning("waiting for etcd: %s", error)
            await clock.sleep(_RETRY_S)


def _endpoints(config: Config) -> tuple[str, ...]:
    """`http(s)://HOST:PORT` as HOST:PORT. Raises: ConfigError when TLS and scheme disagree."""
    endpoints = []
    for server in config.etcd_servers:
        scheme, separator, address = server.rpartition("://")
        if separator and (scheme == "https") != bool(config.etcd_cafile):
            raise ConfigError(
                f"--etcd-servers {server}: https goes with --etcd-cafile, http without"
            )
        endpoints.append(address.rstrip("/"))
    return tuple(endpoints)


def _etcd_tls(config: Config) -> TlsFiles | None:
    if not config.etcd_cafile:
        return None
    return TlsFiles(
        read(config.etcd_cafile),
        read(config.etcd_certfile) or None,
        read(config.etcd_keyfile) or None,
    )


async def _compact(config: Config, storage: EtcdStorage, clock: Clock) -> None:
    if config.etcd_compaction_interval_s > 0:
        await run_compactor(storage.client, clock, config.etcd_compaction_interval_s)


async def _bootstrap(config: Config, chain: HandlerChain, caches: Caches, clock: Clock) -> None:
    """Namespaces, roles and what else every cluster starts with. Raises: ApiError."""
    await caches.synced()
    client_ca = read(config.client_ca_file).decode()
    deadline = clock.monotonic() + BOOTSTRAP_WAIT_S
    while True:
        try:
            today = clock.now().date().isoformat()
            await reconcile_bootstrap(chain, users.LOOPBACK, client_ca, today)
            if config.secure_port:
                await kubernetes_service.reconcile(chain, users.LOOPBACK, _place(config))
        except ApiError as error:
            if clock.monotonic() > deadline:
                raise
            _log.warning("bootstrap will be tried again: %s", error)
            await clock.sleep(_RETRY_S)
        else:
            return


def _place(config: Config) -> kubernetes_service.Place:
    return kubernetes_service.place(
        config.service_cluster_ip_range,
        config.advertise_address,
        config.bind_address,
        config.secure_port,
    )


@asynccontextmanager
async def _grpc_door(
    config: Config, chain: HandlerChain, rules: policy.Rules
) -> AsyncIterator[None]:
    cert, key = read(config.tls_cert_file), read(config.tls_private_key_file)
    listeners = {}
    if config.grpc_port:
        address = f"{config.bind_address}:{config.grpc_port}"
        listeners[address] = credentials(cert, key, read(config.client_ca_file))
    if config.grpc_token_port:
        address = f"{config.bind_address}:{config.grpc_token_port}"
        listeners[address] = credentials(cert, key, b"")
    door = GrpcServer(chain, rules.authenticator)
    try:
        await door.start(listeners)
    except RuntimeError as error:
        raise ConfigError(f"the gRPC door cannot open: {error}") from None
    try:
        yield
    finally:
        await door.stop(config.shutdown_grace_s)
