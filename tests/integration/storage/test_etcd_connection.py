"""How storage reaches etcd: mutual TLS, several endpoints, an etcd that is not there."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from apiserver.storage.etcd import open_etcd
from apiserver.storage.etcd_client import EtcdConfig, TlsFiles
from apiserver.storage.interface import StorageUnavailableError, TooLargeError, Value
from podpath.component_base.clock import SystemClock
from podpath.component_base.pki import ClusterNames, ensure_cluster_pki
from tests.support.caching import key_of, pod_value
from tests.support.etcd import free_ports, running_etcd

pytestmark = pytest.mark.integration


async def test_mutual_tls(tmp_path: Path) -> None:
    pki = ensure_cluster_pki(tmp_path / "pki", ClusterNames(), SystemClock())
    tls = TlsFiles(
        pki.etcd_ca.certificate.read_bytes(),
        pki.apiserver_etcd_client.certificate.read_bytes(),
        pki.apiserver_etcd_client.key.read_bytes(),
    )
    flags = (
        f"--cert-file={pki.etcd_server.certificate}",
        f"--key-file={pki.etcd_server.key}",
        f"--trusted-ca-file={pki.etcd_ca.certificate}",
        "--client-cert-auth",
    )
    async with running_etcd(*flags, tls=tls) as etcd:
        async with open_etcd(etcd.config) as storage:
            version = await storage.create(key_of("a"), pod_value("a"))
            assert (await storage.get(key_of("a"))).version == version
        stranger = replace(
            etcd.config, tls=replace(tls, certificate=None, key=None), request_timeout_s=1.0
        )
        with pytest.raises(StorageUnavailableError):
            async with open_etcd(stranger):
                pass


async def test_the_next_endpoint_is_tried() -> None:
    (nobody,) = free_ports(1)
    async with running_etcd() as etcd:
        config = EtcdConfig((f"127.0.0.1:{nobody}", etcd.endpoint))
        async with open_etcd(config) as storage:
            await storage.create(key_of("a"), pod_value("a"))
            steps = storage.watch("/registry/pods/", 0)
            assert [c.key for c in (await anext(steps)).changes] == [key_of("a")]
            await steps.aclose()  # type: ignore[attr-defined]


async def test_no_etcd_is_said_within_the_limit() -> None:
    (nobody,) = free_ports(1)
    config = EtcdConfig((f"127.0.0.1:{nobody}",), request_timeout_s=0.5)
    with pytest.raises(StorageUnavailableError, match=f"etcd: .*{nobody}"):
        async with open_etcd(config):
            pass


async def test_one_value_that_is_too_large_harms_no_other() -> None:
    async with running_etcd("--max-request-bytes=20000") as etcd, open_etcd(etcd.config) as storage:
        large = Value("v1", "Pod", b"x" * 30_000)
        results = await asyncio.gather(
            *(storage.create(key_of(f"p{n}"), pod_value(f"p{n}")) for n in range(10)),
            storage.create(key_of("large"), large),
            return_exceptions=True,
        )
        assert all(isinstance(r, int) for r in results[:10])
        assert isinstance(results[10], TooLargeError)
        with pytest.raises(TooLargeError):
            await storage.create(key_of("huge"), Value("v1", "Pod", b"x" * 2_000_000))
