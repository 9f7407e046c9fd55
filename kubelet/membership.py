"""What a kubelet does to be a member of a cluster of several machines, beside running Pods:
it renews its certificates, serves with one that it asked for, and takes part in the Pod network.

Source: cmd/kubelet/app/server.go, pkg/kubelet/kubelet.go (NewMainKubelet).
"""

import asyncio
import random
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

from aiohttp import web

from kubelet import server
from kubelet.certificates import ClientCertificate, ServingCertificate, serving_profile
from kubelet.config import Config
from kubelet.kubelet import Kubelet
from kubelet.node_object import NodeIdentity
from kubelet.own_node import OwnNode
from kubelet.pod_network import PodRange, PodRoutes
from kubelet.routes import KernelRoutes
from podpath.client.grpc import GrpcClient
from podpath.component_base.clock import Clock


def tasks(
    settings: Config,
    client: GrpcClient,
    kubelet: Kubelet,
    identity: NodeIdentity,
    clock: Clock,
    rng: random.Random,
) -> Iterator[tuple[str, Coroutine[Any, Any, None]]]:
    """(name, work) of what runs beside the kubelet; which, say the flags."""

    async def network_changed() -> None:
        # The node may be Ready now: no need to wait for the next look.
        await kubelet.runtime_state.check()
        await kubelet.node_status.update()

    pod_range = PodRange(
        client, kubelet.runtime, identity.name, network_changed, clock=clock, rng=rng
    )
    yield "own-node", pod_range.informer.run()
    yield "contradiction", OwnNode(pod_range.informer, kubelet.node_status).run()
    yield "pod-range", pod_range.run()
    if settings.pod_routes:
        routes = PodRoutes(client, KernelRoutes(), identity.name, clock=clock, rng=rng)
        yield "published-routes", routes.informer.run()
        yield "pod-routes", routes.run()
    if settings.bootstrap_kubeconfig and settings.rotate_certificates:
        certificate = ClientCertificate(
            client, Path(settings.kubeconfig), identity.name, clock, rng
        )
        yield "client-certificate", certificate.run()


async def serve_renewing(
    application: web.Application,
    settings: Config,
    client: GrpcClient,
    identity: NodeIdentity,
    clock: Clock,
    rng: random.Random,
) -> None:
    """The server with a certificate by request; until cancelled.

    Connections that are open keep the certificate that they began with.
    """
    profile = serving_profile(identity.name, identity.addresses)
    certificate = ServingCertificate(client, Path(settings.cert_dir), profile, clock, rng)
    file = str(await certificate.current())
    tls = server.tls_context(file, file, settings.client_ca_file)
    async with server.serve(application, settings.address, settings.port, tls):
        while True:
            await certificate.wait_renewed()
            await asyncio.to_thread(tls.load_cert_chain, file, file)
