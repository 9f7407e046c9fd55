"""From settings to a running kubelet.

Source: cmd/kubelet/app/server.go.
"""

import asyncio
import random
import socket
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from pathlib import Path

from kubelet import certificates, machine, membership, server
from kubelet.config import Config
from kubelet.container_log_manager import LogPolicy
from kubelet.cri_client import GrpcCri
from kubelet.dns import Dns, parse_resolv_conf
from kubelet.events import NoEvents, Recorder
from kubelet.kubelet import Kubelet, Shared, Tuning
from kubelet.machine import Machine
from kubelet.node_object import NodeIdentity, parse_taint
from kubelet.objects import PodObjects, TokenManager
from kubelet.pod_dirs import DiskPodFiles
from kubelet.pod_sources import ApiPodSource, selection_of
from kubelet.runtime_config import NodeFacts
from kubelet.server_auth import Authorizer
from kubelet.services import Services
from kubelet.status_writer import StatusWriter
from kubelet.timers import Timers
from podpath.api import quantity
from podpath.client import kubeconfig
from podpath.client.event_recorder import EventRecorder
from podpath.client.grpc import GrpcClient
from podpath.component_base.clock import SystemClock
from podpath.component_base.config import ConfigError
from podpath.component_base.serving import diagnostics
from protos.k8s.core_v1_pb2 import Taint


async def run(settings: Config) -> None:
    """Serves one node until cancelled; its containers go on running."""
    clock, rng = SystemClock(), random.Random()
    identity = identity_of(settings)
    Path(settings.root_dir).mkdir(parents=True, exist_ok=True)
    await certificates.ensure_kubeconfig(settings, identity.name, clock)
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(
            GrpcClient(kubeconfig.load(settings.kubeconfig), field_manager="kubelet")
        )
        runtime = GrpcCri(settings.container_runtime_endpoint)
        stack.push_async_callback(runtime.close)
        recorder = EventRecorder(client, "kubelet", clock=clock, host=identity.name)
        services = Services(client, clock, rng)
        sink: Recorder = recorder if settings.record_events else NoEvents()
        shared = Shared(
            client=client,
            clock=clock,
            rng=rng,
            timers=Timers(clock),
            status_writer=StatusWriter(client),
            objects=PodObjects(client, clock, TokenManager(client, clock, rng)),
            pods=ApiPodSource(client, selection_of(identity.name), clock=clock, rng=rng),
            services=services.all,
            recorder=sink,
        )
        stack.push_async_callback(shared.network.close)
        kubelet = Kubelet(
            shared,
            runtime,
            DiskPodFiles(settings.root_dir),
            identity,
            facts_of(settings, identity),
            lambda: machine.usage(settings.root_dir),
            tuning_of(settings),
        )
        await stack.enter_async_context(
            diagnostics(settings.diagnostics_socket, ready=lambda: kubelet.ready)
        )
        application = server.Server(
            kubelet, Authorizer(client, clock, identity.name), clock
        ).application()
        if settings.tls_cert_file:
            tls = server.tls_context(
                settings.tls_cert_file, settings.tls_private_key_file, settings.client_ca_file
            )
            await stack.enter_async_context(
                server.serve(application, settings.address, settings.port, tls)
            )
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(services.run(), name="services")
            await services.wait_synced()
            tasks.create_task(recorder.run(), name="events")
            tasks.create_task(shared.timers.run(), name="timers")
            tasks.create_task(shared.status_writer.run(), name="status-writer")
            tasks.create_task(shared.pods.run(), name="pods")
            tasks.create_task(kubelet.run(), name="kubelet")
            for name, work in membership.tasks(settings, client, kubelet, identity, clock, rng):
                tasks.create_task(work, name=name)
            if settings.rotate_server_certificates:
                tasks.create_task(
                    membership.serve_renewing(application, settings, client, identity, clock, rng),
                    name="server",
                )


def identity_of(settings: Config) -> NodeIdentity:
    """Raises: ConfigError."""
    if settings.tls_cert_file and not (settings.tls_private_key_file and settings.client_ca_file):
        raise ConfigError("--tls-cert-file needs --tls-private-key-file and --client-ca-file")
    if settings.rotate_server_certificates and not settings.client_ca_file:
        raise ConfigError("--rotate-server-certificates needs --client-ca-file")
    name = settings.hostname_override or socket.gethostname().lower()
    return NodeIdentity(
        name=name,
        machine=_machine(settings),
        addresses=settings.node_ip or (_own_address(),),
        port=settings.port,
        max_pods=settings.max_pods,
        labels=_labels(settings.node_labels),
        taints=_taints(settings.register_with_taints),
        hostname=name,
        unschedulable=not settings.register_schedulable,
    )


def _machine(settings: Config) -> Machine:
    found = machine.detect(settings.root_dir)
    if settings.node_cpus:
        found = replace(found, cpu=int(settings.node_cpus * 1000))
    if settings.node_memory:
        try:
            found = replace(found, memory=quantity.value(settings.node_memory))
        except quantity.QuantityError as error:
            raise ConfigError(f"--node-memory: {error}") from None
    return found


def _labels(texts: tuple[str, ...]) -> dict[str, str]:
    for text in texts:
        if "=" not in text:
            raise ConfigError(f"--node-labels: expected KEY=VALUE, not {text!r}")
    return dict(text.split("=", 1) for text in texts)


def _taints(texts: tuple[str, ...]) -> tuple[Taint, ...]:
    try:
        return tuple(parse_taint(text) for text in texts)
    except ValueError as error:
        raise ConfigError(f"--register-with-taints: {error}") from None


def _own_address() -> str:
    """The address of the default route; loopback without one. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, suppress(OSError):
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])
    return "127.0.0.1"


def facts_of(settings: Config, identity: NodeIdentity) -> NodeFacts:
    servers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    if settings.resolv_conf:
        with suppress(OSError):
            text = Path(settings.resolv_conf).read_text()
            servers, searches, options = parse_resolv_conf(text)
    return NodeFacts(
        name=identity.name,
        pod_logs_dir=settings.pod_logs_dir,
        container_logs_dir=settings.container_logs_dir,
        cpu_capacity=identity.machine.cpu,
        memory_capacity=identity.machine.memory,
        cgroup_root=settings.cgroup_root,
        seccomp_dir=f"{settings.root_dir}/seccomp",
        dns=Dns(settings.cluster_dns, settings.cluster_domain, servers, searches, options),
    )


def tuning_of(settings: Config) -> Tuning:
    return Tuning(
        resync_s=settings.sync_frequency_s,
        status_update_s=settings.node_status_update_frequency_s,
        status_report_s=settings.node_status_report_frequency_s,
        lease_duration_s=settings.node_lease_duration_seconds,
        parallel_pulls=not settings.serialize_image_pulls,
        logs=_log_policy(settings),
    )


def _log_policy(settings: Config) -> LogPolicy:
    try:
        max_bytes = quantity.value(settings.container_log_max_size)
    except quantity.QuantityError as error:
        raise ConfigError(f"--container-log-max-size: {error}") from None
    if max_bytes <= 0:
        raise ConfigError("--container-log-max-size: must be positive")
    if settings.container_log_max_files <= 1:
        raise ConfigError("--container-log-max-files: must be greater than 1")
    return LogPolicy(
        max_bytes, settings.container_log_max_files, settings.container_log_monitor_interval_s
    )
