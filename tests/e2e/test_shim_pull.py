"""Pulls from a real registry: names in every form, credentials, a private CA, and failures."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import grpc
import grpc.aio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from podpath.component_base import image_tar
from protos.cri import runtime_v1_pb2 as cri
from tests.support import containerd, registry
from tests.support.shim_process import ShimProcess, shim_on
from tests.support.shims import Cri

pytestmark = pytest.mark.e2e

NAME = "registry.test"
SPEC = image_tar.ImageSpec(names=(), user="1002:5", labels={"made": "here"})


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ShimProcess]:
    if problem := containerd.available() or registry.available():
        pytest.skip(problem)
    root = tmp_path_factory.mktemp("pull")
    with containerd.running(root / "containerd") as engine:
        hosts = f"--registry-hosts-dir={root / 'hosts'}"
        made = shim_on(root, engine, "pull", hosts, "--image-pull-timeout=20s", images=False)
        with made.running() as process:
            yield process


async def pull(client: Cri, name: str, auth: cri.AuthConfig | None = None) -> str:
    request = cri.PullImageRequest(image=cri.ImageSpec(image=name), auth=auth)
    return (await client.images.PullImage(request)).image_ref


async def status(client: Cri, name: str) -> cri.Image:
    request = cri.ImageStatusRequest(image=cri.ImageSpec(image=name))
    return (await client.images.ImageStatus(request)).image


async def remove(client: Cri, name: str) -> None:
    await client.images.RemoveImage(cri.RemoveImageRequest(image=cri.ImageSpec(image=name)))


async def refused(client: Cri, name: str, auth: cri.AuthConfig | None = None) -> str:
    """The code name of the failure; the name that was asked for is in its message."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await pull(client, name, auth)
    assert name in (raised.value.details() or "")
    return raised.value.code().name


async def test_by_tag_by_digest_and_without_a_tag(shim: ShimProcess, tmp_path: Path) -> None:
    with registry.running(tmp_path / "plain") as served:
        digest = served.push("team/app", ["v1", "v2", "latest"], SPEC)
        served.map_names(shim.directory / "hosts", (NAME,))
        async with shim.client() as client:
            ids = {
                await pull(client, f"{NAME}/team/app{ending}")
                for ending in (":v1", ":v2", "", f"@{digest}")
            }
            assert len(ids) == 1
            image = await status(client, f"{NAME}/team/app:v1")
            assert sorted(image.repo_tags) == [
                f"{NAME}/team/app:{tag}" for tag in ("latest", "v1", "v2")
            ]
            assert list(image.repo_digests) == [f"{NAME}/team/app@{digest}"]
            assert (image.uid.value, image.username) == (1002, "")
            await remove(client, f"{NAME}/team/app:v1")
            for name in (image.id, *image.repo_tags, *image.repo_digests):
                assert not (await status(client, name)).id
            await remove(client, image.id)


async def test_what_is_not_there_is_not_found(shim: ShimProcess, tmp_path: Path) -> None:
    with registry.running(tmp_path / "empty") as served:
        served.map_names(shim.directory / "hosts", (NAME,))
        async with shim.client() as client:
            assert await refused(client, f"{NAME}/none:1") == "NOT_FOUND"


async def test_an_unreachable_registry_fails_soon(shim: ShimProcess, tmp_path: Path) -> None:
    with registry.running(tmp_path / "gone") as served:
        served.map_names(shim.directory / "hosts", (NAME,))
    async with shim.client() as client:
        begun = time.monotonic()
        assert await refused(client, f"{NAME}/any:1") == "UNAVAILABLE"
        assert time.monotonic() - begun < 20


async def test_credentials(shim: ShimProcess, tmp_path: Path) -> None:
    with registry.running(tmp_path / "locked", user="ann", password="secret") as served:
        served.push("private/app", ["1"], SPEC)
        name = f"{served.host}/private/app:1"
        async with shim.client() as client:
            wrong = cri.AuthConfig(username="ann", password="guess")
            assert await refused(client, name) == "PERMISSION_DENIED"
            assert await refused(client, name, wrong) == "PERMISSION_DENIED"
            await pull(client, name, cri.AuthConfig(username="ann", password="secret"))
            await remove(client, name)
        assert "secret" not in shim.log.read_text()


async def test_a_private_ca(shim: ShimProcess, tmp_path: Path) -> None:
    with registry.running(tmp_path / "tls", tls=_certificates(tmp_path)) as served:
        served.push("safe/app", ["1"], SPEC)
        async with shim.client() as client:
            assert await refused(client, f"{served.host}/safe/app:1") in ("UNKNOWN", "UNAVAILABLE")
            served.map_names(shim.directory / "hosts", (NAME,))
            await pull(client, f"{NAME}/safe/app:1")
            await remove(client, f"{NAME}/safe/app:1")


def _certificates(root: Path) -> registry.Tls:
    """A CA and a certificate for 127.0.0.1 in one: self-signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test registry")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    tls = registry.Tls(root / "tls.crt", root / "tls.key", root / "tls.crt")
    tls.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    tls.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return tls
