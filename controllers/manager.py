"""Runs the controllers: elects a leader, starts what the flags ask for, tells its health.

Source: k8s.io/kubernetes cmd/kube-controller-manager/app/controllermanager.go.
"""

import asyncio
import ipaddress
import logging
import random
import socket
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from controllers import (
    certificate_approver,
    certificate_signer,
    deployment,
    disruption,
    garbage_collector,
    namespace,
    node_ipam,
    node_lifecycle,
    pod_gc,
    pod_routes,
    replicaset,
    root_ca,
    serviceaccount,
    taint_eviction,
)
from controllers.config import Config
from controllers.node_zones import EvictionRates
from controllers.pod_observer import PodObserver
from controllers.reconciler import Context, Controller, Settings
from podpath.client.informer import InformerFactory
from podpath.client.interface import Client
from podpath.client.leader_election import LeaderElector, LeaseLock
from podpath.component_base import serving
from podpath.component_base.certificates import KeyPair, PairFiles, PkiError
from podpath.component_base.clock import Clock
from podpath.component_base.config import ConfigError

log = logging.getLogger(__name__)

CONTROLLERS: Mapping[str, Callable[[Context], Controller]] = {
    serviceaccount.NAME: serviceaccount.ServiceAccountController,
    root_ca.NAME: root_ca.RootCaPublisher,
    namespace.NAME: namespace.NamespaceController,
    replicaset.NAME: replicaset.ReplicaSetController,
    deployment.NAME: deployment.DeploymentController,
    disruption.NAME: disruption.DisruptionController,
    garbage_collector.NAME: garbage_collector.GarbageCollector,
    pod_gc.NAME: pod_gc.PodGarbageCollector,
    node_lifecycle.NAME: node_lifecycle.NodeLifecycleController,
    taint_eviction.NAME: taint_eviction.TaintEvictionController,
    certificate_approver.NAME: certificate_approver.CertificateApprover,
    certificate_signer.NAME: certificate_signer.CertificateSigner,
    certificate_signer.CLEANER: certificate_signer.CertificateCleaner,
    node_ipam.NAME: node_ipam.NodeIpam,
    pod_routes.NAME: pod_routes.PodRoutePublisher,
}


def selected(
    wanted: Iterable[str],
    *,
    has_root_ca: bool,
    can_sign: bool = False,
    has_pod_ranges: bool = False,
) -> list[str]:
    """The names of the controllers to run, in the order of CONTROLLERS.

    Left out: the root CA publisher without a bundle, the approver and signer without an authority,
    node IPAM and routes without a range. Raises: ConfigError.
    """
    wanted = list(wanted)
    unknown = [name for name in wanted if name != "*" and name.removeprefix("-") not in CONTROLLERS]
    if unknown:
        known = ", ".join(CONTROLLERS)
        raise ConfigError(f"--controllers: {', '.join(unknown)}: not one of {known}")
    chosen = {name for name in CONTROLLERS if name in wanted or "*" in wanted}
    chosen -= {name.removeprefix("-") for name in wanted if name.startswith("-")}
    if not has_root_ca:
        chosen.discard(root_ca.NAME)
    if not can_sign:
        chosen -= {certificate_approver.NAME, certificate_signer.NAME}
    if not has_pod_ranges:
        chosen -= {node_ipam.NAME, pod_routes.NAME}
    return [name for name in CONTROLLERS if name in chosen]


def settings_from(config: Config) -> Settings:
    """Raises: ConfigError when the CA bundle cannot be read."""
    bundle = b""
    if config.root_ca_file:
        try:
            bundle = Path(config.root_ca_file).read_bytes()
        except OSError as error:
            message = f"--root-ca-file {config.root_ca_file}: {error.strerror}"
            raise ConfigError(message) from None
    return Settings(
        root_ca=bundle,
        signing_authority=_signing_authority(config),
        signing_duration_s=config.cluster_signing_duration_s,
        cluster_cidr=_pod_range(config),
        node_cidr_mask_size=config.node_cidr_mask_size,
        terminated_pod_gc_threshold=config.terminated_pod_gc_threshold,
        node_monitor_period_s=config.node_monitor_period_s,
        node_monitor_grace_period_s=config.node_monitor_grace_period_s,
        node_startup_grace_period_s=config.node_startup_grace_period_s,
        eviction_rates=EvictionRates(
            normal=config.node_eviction_rate,
            secondary=config.secondary_node_eviction_rate,
            large_cluster_size=config.large_cluster_size_threshold,
            unhealthy_zone=config.unhealthy_zone_threshold,
        ),
    )


def _signing_authority(config: Config) -> KeyPair | None:
    certificate, key = config.cluster_signing_cert_file, config.cluster_signing_key_file
    if bool(certificate) != bool(key):
        raise ConfigError("--cluster-signing-cert-file and --cluster-signing-key-file go together")
    if not certificate:
        return None
    try:
        return PairFiles(Path(certificate), Path(key)).load()
    except PkiError as error:
        raise ConfigError(f"--cluster-signing-cert-file: {error}") from None


def _pod_range(config: Config) -> str:
    """The nodes' ranges are taken from it; empty when none are to be given."""
    if not config.allocate_node_cidrs:
        return ""
    try:
        network = ipaddress.IPv4Network(config.cluster_cidr)
    except ValueError as error:
        raise ConfigError(f"--cluster-cidr {config.cluster_cidr!r}: {error}") from None
    if not network.prefixlen <= config.node_cidr_mask_size <= 30:
        raise ConfigError(
            f"--node-cidr-mask-size {config.node_cidr_mask_size}: expected "
            f"{network.prefixlen} to 30 with --cluster-cidr {network}"
        )
    return str(network)


class Manager:
    """One process' controllers."""

    def __init__(self, config: Config, client: Client, *, clock: Clock, rng: random.Random) -> None:
        """Raises: ConfigError."""
        self._config = config
        self._client = client
        self._clock = clock
        self._rng = rng
        self._settings = settings_from(config)
        self._names = selected(
            config.controllers,
            has_root_ca=bool(self._settings.root_ca),
            can_sign=self._settings.signing_authority is not None,
            has_pod_ranges=bool(self._settings.cluster_cidr),
        )
        self._informers: InformerFactory | None = None
        self._elector: LeaderElector | None = None

    @property
    def is_ready(self) -> bool:
        """True for a leader whose informers have synced, and for a process that stands by."""
        if self._informers is not None:
            return self._informers.has_synced
        return self._elector is not None and bool(self._elector.leader)

    async def run(self) -> None:
        """Until cancelled. Raises: LostLeadershipError: the process has to end then, since its
        controllers' expectations are worth nothing after another has led."""
        async with serving.diagnostics(
            self._config.diagnostics_socket, ready=lambda: self.is_ready
        ):
            if not self._config.leader_elect:
                await self.run_controllers()
                return
            self._elector = LeaderElector(
                self._client, self._lock(), clock=self._clock, rng=self._rng
            )
            await self._elector.run(self.run_controllers)

    async def run_controllers(self) -> None:
        """Starts informers, event recorders and controllers, and runs them."""
        informers = InformerFactory(self._client, clock=self._clock, rng=self._rng)
        context = Context(self._client, informers, self._clock, self._rng, self._settings)
        running = {name: CONTROLLERS[name](context) for name in self._names}
        PodObserver(context)
        self._informers = informers
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(informers.run(), name="informers")
                for recorder in context.recorders:
                    tasks.create_task(recorder.run(), name="events")
                for name, controller in running.items():
                    tasks.create_task(controller.run(), name=name)
        finally:
            self._informers = None

    def _lock(self) -> LeaseLock:
        config = self._config
        return LeaseLock(
            namespace=config.leader_elect_resource_namespace,
            name=config.leader_elect_resource_name,
            identity=f"{socket.gethostname()}_{uuid.uuid4()}",
            lease_duration_s=config.leader_elect_lease_duration_s,
            renew_deadline_s=config.leader_elect_renew_deadline_s,
            retry_period_s=config.leader_elect_retry_period_s,
        )
