"""`python -m controllers` beside a real API server; Pods run on a stand-in for the nodes."""

import asyncio
import signal
import subprocess
import sys
from contextlib import asynccontextmanager, contextmanager

import pytest

from podpath.api.errors import ApiError
from podpath.api.scheme import (
    CONFIGMAPS,
    DEPLOYMENTS,
    EVENTS,
    LEASES,
    NAMESPACES,
    NODES,
    PODS,
    REPLICASETS,
    SECRETS,
    SERVICEACCOUNTS,
)
from podpath.client import kubeconfig
from podpath.client.interface import Selection
from protos.k8s.core_v1_pb2 import Namespace, Node, Secret
from protos.k8s.meta_v1_pb2 import DeleteOptions
from tests.support.apiserver import running_apiserver
from tests.support.controllers import a_deployment, change_web
from tests.support.hollow_pods import hollow_pods

pytestmark = pytest.mark.integration

LIMIT_S = 60
QUICK_LEASE = (
    "--leader-elect-lease-duration=3s",
    "--leader-elect-renew-deadline=2s",
    "--leader-elect-retry-period=500ms",
)


class Controllers:
    """One process; several may contend."""

    def __init__(self, server, directory, name="controllers"):
        self._log_path = directory / f"{name}.log"
        path = directory / f"{name}.kubeconfig"
        pair = server.pki.controllers
        admin = server.config()
        config = kubeconfig.KubeConfig(
            admin.server,
            admin.grpc_address,
            ca=admin.ca,
            cert=pair.certificate.read_bytes(),
            key=pair.key.read_bytes(),
        )
        kubeconfig.write(path, config)
        self._command = [
            sys.executable,
            "-m",
            "controllers",
            f"--kubeconfig={path}",
            f"--root-ca-file={server.pki.ca.certificate}",
            *QUICK_LEASE,
        ]
        self._process = None

    @property
    def log(self):
        return self._log_path.read_text()

    def start(self):
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)

    def end(self, number):
        self._process.send_signal(number)
        return self._process.wait(20)

    @contextmanager
    def running(self):
        self.start()
        try:
            yield self
        finally:
            if self._process.poll() is None:
                self._process.kill()
            self._process.wait()


async def eventually(check, what):
    try:
        async with asyncio.timeout(LIMIT_S):
            while not await check():
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"{what}: not after {LIMIT_S} s") from None


@asynccontextmanager
async def a_cluster():
    async with running_apiserver() as server, server.client() as client:
        node = Node()
        node.metadata.name = "hollow"
        await client.create(NODES, node)
        namespace = Namespace()
        namespace.metadata.name = "ns"
        await client.create(NAMESPACES, namespace)
        async with hollow_pods(client):
            yield server, client


async def alive(client):
    pods = (await client.list(PODS, Selection(namespace="ns"))).items
    return [p for p in pods if not p.metadata.HasField("deletionTimestamp")]


async def has_account(client):
    try:
        await client.get(SERVICEACCOUNTS, "ns", "default")
        await client.get(CONFIGMAPS, "ns", "kube-root-ca.crt")
    except ApiError:
        return False
    return True


def settled(client, count):
    async def check():
        deployment = await client.get(DEPLOYMENTS, "ns", "web")
        status = deployment.status
        if status.observedGeneration < deployment.metadata.generation:
            return False
        numbers = (status.replicas, status.updatedReplicas, status.availableReplicas)
        return numbers == (count,) * 3 and len(await alive(client)) == count

    return check


def quick(deployment):
    """Pods that end at once."""
    deployment.spec.template.spec.terminationGracePeriodSeconds = 1
    deployment.metadata.ClearField("uid")
    return deployment


def scale(replicas):
    def change(deployment):
        deployment.spec.replicas = replicas

    return change


def image(name):
    def change(deployment):
        deployment.spec.template.spec.containers[0].image = name

    return change


async def test_a_deployments_life_and_the_end_of_its_namespace(tmp_path):
    async with a_cluster() as (server, client):
        with Controllers(server, tmp_path).running() as controllers:
            await eventually(lambda: has_account(client), "the account")
            await client.create(DEPLOYMENTS, quick(a_deployment(replicas=3)))
            await eventually(settled(client, 3), "three replicas")
            await change_web(client, scale(5))
            await eventually(settled(client, 5), "five replicas")

            victim = (await alive(client))[0].metadata.name
            await client.delete(PODS, "ns", victim)

            async def replaced():
                names = {p.metadata.name for p in await alive(client)}
                return len(names) == 5 and victim not in names

            await eventually(replaced, "a replacement")
            await change_web(client, image("two"))
            await eventually(settled(client, 5), "the new version")
            assert {p.spec.containers[0].image for p in await alive(client)} == {"two"}

            await client.delete(DEPLOYMENTS, "ns", "web")

            async def collected():
                sets = await client.list(REPLICASETS)
                return not sets.items and not (await client.list(PODS)).items

            await eventually(collected, "the cascade")

            await client.create(DEPLOYMENTS, quick(a_deployment(replicas=2)))
            secret = Secret()
            secret.metadata.name, secret.metadata.namespace = "s", "ns"
            await client.create(SECRETS, secret)
            await eventually(settled(client, 2), "two replicas")
            await client.delete(NAMESPACES, "", "ns")

            async def ended():
                try:
                    await client.get(NAMESPACES, "", "ns")
                except ApiError as error:
                    return error.reason == "NotFound"
                return False

            await eventually(ended, "the end of the namespace")
            for resource in (SECRETS, PODS, REPLICASETS, DEPLOYMENTS, EVENTS):
                assert (await client.list(resource, Selection(namespace="ns"))).items == []
            assert "Traceback" not in controllers.log
            assert controllers.end(signal.SIGTERM) == 0
            lease = await client.get(LEASES, "kube-system", "kube-controller-manager")
            assert lease.spec.holderIdentity == ""


@pytest.mark.parametrize("policy", ["Orphan", "Foreground"])
async def test_propagation_policies(tmp_path, policy):
    async with a_cluster() as (server, client):
        with Controllers(server, tmp_path).running():
            await eventually(lambda: has_account(client), "the account")
            await client.create(DEPLOYMENTS, quick(a_deployment(replicas=2)))
            await eventually(settled(client, 2), "two replicas")
            options = DeleteOptions(propagationPolicy=policy)
            await client.delete(DEPLOYMENTS, "ns", "web", options)

            async def gone():
                return not (await client.list(DEPLOYMENTS)).items

            await eventually(gone, "the end of the deployment")
            sets = (await client.list(REPLICASETS)).items
            if policy == "Orphan":
                assert [list(rs.metadata.ownerReferences) for rs in sets] == [[]]
                assert len(await alive(client)) == 2
            else:
                assert sets == []
                assert await alive(client) == []


async def test_killed_in_the_middle_of_a_rollout(tmp_path):
    async with a_cluster() as (server, client):
        first, second = (Controllers(server, tmp_path, name) for name in ("first", "second"))
        with first.running():
            await eventually(lambda: has_account(client), "the account")
            await client.create(DEPLOYMENTS, quick(a_deployment(replicas=50)))
            await eventually(settled(client, 50), "fifty replicas")
            with second.running():
                await change_web(client, image("two"))

                async def begun():
                    new = [p for p in await alive(client) if p.spec.containers[0].image == "two"]
                    return len(new) > 5

                await eventually(begun, "a rollout")
                first.end(signal.SIGKILL)
                await eventually(settled(client, 50), "the rollout's end")
                assert {p.spec.containers[0].image for p in await alive(client)} == {"two"}
                assert len((await client.list(REPLICASETS)).items) == 2
