"""A node joins a real API server by token and request, and renews what it got."""

import asyncio
import random
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography import x509

from controllers.config import Config as ControllersConfig
from controllers.manager import Manager
from kubelet import certificates
from kubelet.certificates import ClientCertificate, ServingCertificate, serving_profile
from kubelet.config import Config
from podpath.api.errors import ApiError
from podpath.api.scheme import CERTIFICATESIGNINGREQUESTS, CONFIGMAPS, NODES, SECRETS
from podpath.cli import join_token
from podpath.client import kubeconfig
from podpath.client.grpc import GrpcClient
from podpath.client.interface import Selection
from podpath.component_base.clock import SystemClock
from protos.k8s.core_v1_pb2 import Node
from tests.support.apiserver import running_apiserver

pytestmark = pytest.mark.integration

CONTROLLERS = (
    "certificatesigningrequest-approving-controller",
    "certificatesigningrequest-signing-controller",
    "node-ipam-controller",
    "pod-route-publisher",
)


@asynccontextmanager
async def cluster(*, signing_duration_s=3600.0):
    """An API server that knows bootstrap tokens, with the controllers of this test's subject."""
    async with running_apiserver("--enable-bootstrap-token-auth") as server:
        config = ControllersConfig(
            kubeconfig="",
            controllers=CONTROLLERS,
            leader_elect=False,
            cluster_signing_cert_file=str(server.pki.ca.certificate),
            cluster_signing_key_file=str(server.pki.ca.key),
            cluster_signing_duration_s=signing_duration_s,
            allocate_node_cidrs=True,
            cluster_cidr="10.244.0.0/16",
        )
        async with server.client("controllers") as client, asyncio.timeout(60):
            manager = Manager(config, client, clock=SystemClock(), rng=random.Random(1))
            running = asyncio.ensure_future(manager.run())
            try:
                yield server
            finally:
                running.cancel()
                await asyncio.wait([running])


async def settings_of(server, directory, *, token=None):
    """A kubelet's settings with a bootstrap kubeconfig."""
    async with server.client() as admin:
        made = token or str(await join_token.make(admin, datetime.now(UTC)))
    config = replace(
        server.config(token=made),
        grpc_address=f"127.0.0.1:{server.grpc_port}",
        grpc_token_address=f"127.0.0.1:{server.token_port}",
    )
    kubeconfig.write(directory / "bootstrap", config, "podpath")
    return Config(
        kubeconfig=str(directory / "kubeconfig"),
        container_runtime_endpoint="unix:///nowhere",
        bootstrap_kubeconfig=str(directory / "bootstrap"),
        cert_dir=str(directory / "pki"),
    )


def a_node(name, ip):
    node = Node()
    node.metadata.name = name
    node.status.addresses.add(type="InternalIP", address=ip)
    return node


async def eventually(look, what):
    for _ in range(200):
        if found := await look():
            return found
        await asyncio.sleep(0.05)
    raise AssertionError(f"never happened: {what}")


async def test_a_node_joins_and_gets_both_certificates_and_a_pod_range(tmp_path):
    async with cluster() as server:
        settings = await settings_of(server, tmp_path)
        await certificates.ensure_kubeconfig(settings, "worker-1", SystemClock())

        config = kubeconfig.load(settings.kubeconfig)
        subject = x509.load_pem_x509_certificate(config.cert).subject.rfc4514_string()
        assert subject == "CN=system:node:worker-1,O=system:nodes"
        assert not config.token
        assert not (tmp_path / "pki/kubelet-client.key.tmp").exists()

        async with GrpcClient(config) as client:
            await client.create(NODES, a_node("worker-1", "10.1.2.3"))
            serving = ServingCertificate(
                client,
                tmp_path / "pki",
                serving_profile("worker-1", ("10.1.2.3",)),
                SystemClock(),
                random.Random(1),
            )
            file = await serving.current()
            names = x509.load_pem_x509_certificate(file.read_bytes()).extensions
            alternative = names.get_extension_for_class(x509.SubjectAlternativeName).value
            assert [str(name.value) for name in alternative] == ["worker-1", "10.1.2.3"]

            async def has_range():
                return (await client.get(NODES, "", "worker-1")).spec.podCIDR

            assert await eventually(has_range, "pod range") == "10.244.0.0/24"

            async def published():
                found = await client.get(CONFIGMAPS, "kube-system", "podpath-pod-routes")
                return dict(found.data)

            assert await eventually(published, "routes") == {"worker-1": "10.244.0.0/24 10.1.2.3"}

            # What a kubelet may not do: read other nodes, or any other ConfigMap there.
            for resource, namespace, name in (
                (NODES, "", "worker-2"),
                (CONFIGMAPS, "kube-system", "extension-apiserver-authentication"),
            ):
                with pytest.raises(ApiError, match="forbidden"):
                    await client.get(resource, namespace, name)


async def test_no_serving_certificate_for_an_address_that_is_not_the_nodes(tmp_path):
    async with cluster() as server:
        settings = await settings_of(server, tmp_path)
        await certificates.ensure_kubeconfig(settings, "worker-1", SystemClock())
        async with GrpcClient(kubeconfig.load(settings.kubeconfig)) as client:
            await client.create(NODES, a_node("worker-1", "10.1.2.3"))
            profile = serving_profile("worker-1", ("10.9.9.9",))
            serving = ServingCertificate(client, tmp_path, profile, SystemClock(), random.Random(1))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(serving.current(), 3)
        async with server.client() as admin:
            found = (await admin.list(CERTIFICATESIGNINGREQUESTS)).items
        [waiting] = [csr for csr in found if csr.spec.signerName.endswith("kubelet-serving")]
        assert not waiting.status.conditions
        assert waiting.spec.username == "system:node:worker-1"


@pytest.mark.slow
async def test_a_client_certificate_is_renewed_and_the_connection_goes_on(tmp_path):
    async with cluster(signing_duration_s=6.0) as server:
        settings = await settings_of(server, tmp_path)
        await certificates.ensure_kubeconfig(settings, "worker-1", SystemClock())
        first = kubeconfig.load(settings.kubeconfig).cert
        async with GrpcClient(kubeconfig.load(settings.kubeconfig)) as client:
            node = await client.create(NODES, a_node("worker-1", "10.1.2.3"))
            renewing = ClientCertificate(
                client, tmp_path / "kubeconfig", "worker-1", SystemClock(), random.Random(1)
            )
            task = asyncio.ensure_future(renewing.run())
            ended = asyncio.ensure_future(watch_to_its_end(client))
            try:
                # A watch ends when the connection is renewed, without an error.
                await asyncio.wait_for(ended, 30)
                assert kubeconfig.load(settings.kubeconfig).cert != first
                await asyncio.sleep(6.5)  # the first certificate has expired
                assert (await client.get(NODES, "", "worker-1")).metadata.uid == node.metadata.uid
            finally:
                task.cancel()
                await asyncio.wait([task])


async def watch_to_its_end(client):
    async for _ in client.watch(NODES, Selection(field_selector="metadata.name=worker-1")):
        pass


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param({"expiration": b"2020-01-01T00:00:00Z"}, id="expired"),
        pytest.param({"usage-bootstrap-authentication": b"false"}, id="not for authentication"),
        pytest.param({"token-secret": b"0123456789abcdef"}, id="another secret"),
        pytest.param({"auth-extra-groups": b"system:masters"}, id="a group it may not give"),
    ],
)
async def test_a_bad_token_is_refused(tmp_path, spoil):
    async with running_apiserver("--enable-bootstrap-token-auth") as server:
        token = join_token.new_token()
        secret = join_token.secret_of(token, datetime(2099, 1, 1, tzinfo=UTC))
        for key, value in spoil.items():
            secret.data[key] = value
        async with server.client() as admin:
            await admin.create(SECRETS, secret)
        async with server.client(token=str(token)) as client:
            with pytest.raises(ApiError) as raised:
                await client.list(CERTIFICATESIGNINGREQUESTS)
            assert raised.value.reason == "Unauthorized"
