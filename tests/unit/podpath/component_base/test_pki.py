"""The cluster's certificates: what they say, who accepts them, when they are made anew."""

import datetime as dt
import socket
import ssl
import subprocess
import threading
from pathlib import Path

import pytest
from cryptography import x509

from podpath.component_base import pki
from podpath.component_base.clock import FakeClock, SystemClock

NAMES = pki.ClusterNames(
    nodes=(pki.NodeNames("node-1", ips=("127.0.0.1", "10.1.2.3")),), apiserver_ips=("10.9.9.9",)
)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> pki.ClusterPki:
    return pki.ensure_cluster_pki(tmp_path_factory.mktemp("pki"), NAMES, SystemClock())


def _all_files(directory: Path) -> dict[Path, bytes]:
    return {p: p.read_bytes() for p in directory.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    ("which", "common_name", "organizations"),
    [
        pytest.param("admin", "kubernetes-admin", ["system:masters"], id="admin"),
        pytest.param("scheduler", "system:kube-scheduler", [], id="scheduler"),
        pytest.param("controllers", "system:kube-controller-manager", [], id="controllers"),
        pytest.param("node-1", "system:node:node-1", ["system:nodes"], id="kubelet"),
    ],
)
def test_client_certificates_name_the_user(made, which, common_name, organizations):
    files = made.node_client(which) if which.startswith("node") else made.user(which)
    subject = files.load().certificate.subject
    oid = x509.oid.NameOID
    assert [a.value for a in subject.get_attributes_for_oid(oid.COMMON_NAME)] == [common_name]
    found = [a.value for a in subject.get_attributes_for_oid(oid.ORGANIZATION_NAME)]
    assert found == organizations


def test_files_are_the_owners_only(made):
    assert {oct(p.stat().st_mode & 0o777) for p in made.directory.rglob("*") if p.is_file()} == {
        "0o600"
    }


def test_validity(made):
    now = dt.datetime.now(dt.UTC)
    leaf, ca = made.apiserver.load().certificate, made.ca.load().certificate
    assert leaf.not_valid_before_utc < now - dt.timedelta(minutes=59)
    assert dt.timedelta(364) < leaf.not_valid_after_utc - now <= dt.timedelta(365)
    assert dt.timedelta(3649) < ca.not_valid_after_utc - now <= dt.timedelta(3650)


@pytest.mark.parametrize(
    ("purpose", "ca", "leaf"),
    [
        pytest.param("sslserver", "ca.crt", "apiserver.crt", id="apiserver"),
        pytest.param("sslclient", "ca.crt", "users/admin.crt", id="admin"),
        pytest.param("sslclient", "ca.crt", "nodes/node-1/client.crt", id="kubelet client"),
        pytest.param("sslserver", "ca.crt", "nodes/node-1/serving.crt", id="kubelet server"),
        pytest.param("sslserver", "etcd/ca.crt", "etcd/server.crt", id="etcd server"),
        pytest.param("sslclient", "etcd/ca.crt", "etcd/server.crt", id="etcd's own gateway"),
        pytest.param("sslclient", "etcd/ca.crt", "apiserver-etcd-client.crt", id="etcd client"),
    ],
)
def test_openssl_verifies_strictly(made, purpose, ca, leaf):
    argv = ["openssl", "verify", "-x509_strict", "-purpose", purpose, "-CAfile", ca, leaf]
    done = subprocess.run(argv, cwd=made.directory, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "kubernetes.default.svc", "10.9.9.9"])
def test_python_verifies_strictly_both_ways(made, host):
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(made.ca.certificate))
    server.load_cert_chain(made.apiserver.certificate, made.apiserver.key)
    server.verify_mode = ssl.CERT_REQUIRED
    client = ssl.create_default_context(cafile=str(made.ca.certificate))
    client.load_cert_chain(made.admin.certificate, made.admin.key)
    for context in (server, client):
        context.verify_flags |= ssl.VERIFY_X509_STRICT
    left, right = socket.socketpair()
    seen: list[bytes] = []

    def serve() -> None:
        with server.wrap_socket(left, server_side=True) as tls:
            seen.append(tls.getpeercert(binary_form=True) or b"")
            tls.sendall(b"hello")

    thread = threading.Thread(target=serve)
    thread.start()
    with client.wrap_socket(right, server_hostname=host) as tls:
        assert tls.recv(5) == b"hello"
    thread.join()
    assert x509.load_der_x509_certificate(seen[0]) == made.admin.load().certificate


def test_a_second_ensure_changes_nothing(made):
    before = _all_files(made.directory)
    pki.ensure_cluster_pki(made.directory, NAMES, SystemClock())
    assert _all_files(made.directory) == before


def _changed(directory: Path, before: dict[Path, bytes]) -> set[str]:
    after = _all_files(directory)
    return {str(p.relative_to(directory)) for p in after if after[p] != before.get(p)}


def test_only_what_needs_it_is_made_anew(tmp_path):
    clock = FakeClock()
    made = pki.ensure_cluster_pki(tmp_path, NAMES, clock)
    made.scheduler.key.write_bytes(b"damaged")
    before = _all_files(tmp_path)
    wider = pki.ClusterNames(nodes=NAMES.nodes, apiserver_ips=("10.9.9.9", "10.7.7.7"))
    pki.ensure_cluster_pki(tmp_path, wider, clock)
    assert _changed(tmp_path, before) == {
        "apiserver.crt",
        "apiserver.key",
        "users/scheduler.crt",
        "users/scheduler.key",
    }


def test_leaves_are_renewed_before_they_expire_and_authorities_stay(tmp_path):
    clock = FakeClock()
    pki.ensure_cluster_pki(tmp_path, NAMES, clock)
    before = _all_files(tmp_path)
    clock.step(340 * 86400)
    pki.ensure_cluster_pki(tmp_path, NAMES, clock)
    kept = set(before) - {tmp_path / name for name in _changed(tmp_path, before)}
    assert {str(p.relative_to(tmp_path)) for p in kept} == {
        "ca.crt",
        "ca.key",
        "etcd/ca.crt",
        "etcd/ca.key",
        "sa.key",
        "sa.pub",
    }


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda f: f.key.unlink(), id="key lost"),
        pytest.param(lambda f: f.certificate.write_bytes(b"x"), id="certificate damaged"),
        pytest.param(
            lambda f: f.key.write_bytes(pki.private_key_pem(pki.new_key())), id="another key"
        ),
    ],
)
def test_a_damaged_authority_is_never_replaced(tmp_path, damage):
    made = pki.ensure_cluster_pki(tmp_path, pki.ClusterNames(), FakeClock())
    damage(made.ca)
    with pytest.raises(pki.PkiError, match="restore the files, or remove both"):
        pki.ensure_cluster_pki(tmp_path, pki.ClusterNames(), FakeClock())
