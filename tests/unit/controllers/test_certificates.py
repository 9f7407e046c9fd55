"""Which requests for certificates are in order, and what a signed certificate says."""

import random
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from controllers import certificate_requests as requests
from controllers.certificate_approver import CertificateApprover
from controllers.certificate_signer import is_stale
from controllers.node_ipam import Network, first_free
from controllers.pod_routes import routes_of
from podpath.api.scheme import CERTIFICATESIGNINGREQUESTS, NODES
from podpath.client.memory import MemoryClient
from podpath.component_base import certificate_requests
from podpath.component_base.certificates import Profile, client, create_ca, new_key, serving
from podpath.component_base.clock import FakeClock
from protos.k8s.certificates_v1_pb2 import CertificateSigningRequest
from protos.k8s.core_v1_pb2 import Node
from tests.support.controllers import running, settle

NOW = FakeClock().now()
NODE = client("system:node:n1", ("system:nodes",))
SERVING = serving("system:node:n1", ("n1",), ("10.0.0.1",), ("system:nodes",))
CLIENT_USAGES = ("digital signature", "client auth")
SERVING_USAGES = ("digital signature", "server auth")


def a_csr(
    profile=NODE, signer=requests.KUBELET_CLIENT, usages=CLIENT_USAGES, user="system:node:n1"
):
    csr = CertificateSigningRequest()
    csr.metadata.name = "c"
    csr.spec.request = certificate_requests.make(new_key(), profile)
    csr.spec.signerName = signer
    csr.spec.usages.extend(usages)
    csr.spec.username = user
    csr.spec.groups.extend(("system:nodes", "system:authenticated"))
    return csr


async def test_a_serving_certificate_is_approved_as_soon_as_its_node_has_the_addresses():
    clock = FakeClock()
    client = MemoryClient(clock, random.Random(1))
    csr = a_csr(SERVING, requests.KUBELET_SERVING, SERVING_USAGES)
    client.seed(CERTIFICATESIGNINGREQUESTS, csr)

    async def approved():
        await settle()
        found = await client.get(CERTIFICATESIGNINGREQUESTS, "", "c")
        return [c.type for c in found.status.conditions] == ["Approved"]

    async with running(client, clock, CertificateApprover):
        node = Node()
        node.metadata.name = "n1"
        node = await client.create(NODES, node)
        assert not await approved()
        node.status.addresses.add(type="InternalIP", address="10.0.0.1")
        await client.update_status(NODES, node)
        assert await approved()


@pytest.mark.parametrize(
    ("csr", "permission"),
    [
        pytest.param(a_csr(), "selfnodeclient", id="renewal"),
        pytest.param(a_csr(user="system:bootstrap:x"), "nodeclient", id="joining"),
        pytest.param(a_csr(user="system:node:n2"), "nodeclient", id="for another node"),
        pytest.param(
            a_csr(usages=(*CLIENT_USAGES, "key encipherment")), "selfnodeclient", id="RSA's usages"
        ),
        pytest.param(a_csr(usages=SERVING_USAGES), "", id="server's usages"),
        pytest.param(a_csr(client("system:node:n1", ("other",))), "", id="another group"),
        pytest.param(a_csr(client("admin", ("system:nodes",))), "", id="no node's name"),
        pytest.param(
            a_csr(client("system:node:n1", ("system:nodes", "system:masters"))),
            "",
            id="more groups",
        ),
        pytest.param(a_csr(SERVING), "", id="with addresses"),
        pytest.param(a_csr(signer=requests.CLIENT), "", id="another signer"),
    ],
)
def test_the_permission_that_a_client_certificate_takes(csr, permission):
    assert requests.client_permission(csr) == permission


@pytest.mark.parametrize(
    ("profile", "user", "node"),
    [
        pytest.param(SERVING, "system:node:n1", "n1", id="its own"),
        pytest.param(SERVING, "system:node:n2", "", id="another's"),
        pytest.param(SERVING, "system:bootstrap:x", "", id="a token's"),
        pytest.param(NODE, "system:node:n1", "", id="without names"),
    ],
)
def test_whose_serving_certificate_it_is(profile, user, node):
    csr = a_csr(profile, requests.KUBELET_SERVING, SERVING_USAGES, user)
    assert requests.serving_node(csr) == node


@pytest.mark.parametrize(
    ("dns", "ips", "covered"),
    [
        (("n1",), ("10.0.0.1",), True),
        ((), ("10.0.0.1",), True),
        (("n1", "kubernetes"), (), False),
        (("n1",), ("10.0.0.1", "10.0.0.2"), False),
    ],
)
def test_only_the_nodes_own_names_are_covered(dns, ips, covered):
    node = Node()
    node.metadata.name = "n1"
    node.status.addresses.add(type="InternalIP", address="10.0.0.1")
    profile = Profile("system:node:n1", ("system:nodes",), dns, ips, server=True)
    requested = certificate_requests.read(certificate_requests.make(new_key(), profile))
    assert requests.covers(node, requested) is covered


def test_a_signed_certificate_says_what_was_asked_and_verifies():
    ca, key = create_ca("test", NOW), new_key()
    pem = certificate_requests.sign(
        ca,
        certificate_requests.make(key, SERVING),
        SERVING_USAGES,
        now=NOW,
        validity=timedelta(hours=1),
    )
    made = x509.load_pem_x509_certificate(pem)
    made.verify_directly_issued_by(ca.certificate)
    assert made.public_key() == key.public_key()
    assert made.subject.rfc4514_string() == "CN=system:node:n1,O=system:nodes"
    assert made.not_valid_after_utc == NOW + timedelta(hours=1)
    assert made.not_valid_before_utc == NOW - timedelta(minutes=5)
    usage = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert [u.dotted_string for u in usage] == ["1.3.6.1.5.5.7.3.1"]
    assert not made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


@pytest.mark.parametrize("pem", [b"", b"nonsense", create_ca("x", NOW).certificate_pem])
def test_what_is_no_request_is_not_signed(pem):
    with pytest.raises(certificate_requests.RequestError):
        certificate_requests.sign(
            create_ca("test", NOW), pem, CLIENT_USAGES, now=NOW, validity=timedelta(hours=1)
        )


@pytest.mark.parametrize(
    ("conditions", "age_s", "stale"),
    [((), 3600, False), ((), 86401, True), (("Approved",), 3601, True), (("Denied",), 10, False)],
)
def test_old_requests_are_cleaned(conditions, age_s, stale):
    csr = a_csr()
    csr.metadata.creationTimestamp.seconds = 1_000_000
    for type_ in conditions:
        csr.status.conditions.add(type=type_).lastUpdateTime.seconds = 1_000_000
    assert is_stale(csr, 1_000_000 + age_s) is stale


@pytest.mark.parametrize(
    ("used", "free"),
    [
        ((), "10.1.0.0/24"),
        (("10.1.0.0/24", "10.1.2.0/24"), "10.1.1.0/24"),
        (("10.1.0.0/23",), "10.1.2.0/24"),
        (("10.1.0.0/22",), ""),
    ],
)
def test_the_first_free_range(used, free):
    assert first_free(Network("10.1.0.0/22"), 24, set(used)) == free


def test_routes_are_of_nodes_that_have_range_and_address():
    complete, without = Node(), Node()
    complete.metadata.name, without.metadata.name = "a", "b"
    complete.spec.podCIDR = without.spec.podCIDR = "10.1.0.0/24"
    complete.status.addresses.add(type="Hostname", address="a")
    complete.status.addresses.add(type="InternalIP", address="10.0.0.1")
    assert routes_of([complete, without]) == {"a": "10.1.0.0/24 10.0.0.1"}


@pytest.mark.parametrize(
    ("key", "usages", "basic"),
    [
        pytest.param(new_key(), ("client auth",), False, id="EC, extended usages alone"),
        pytest.param(
            rsa.generate_private_key(65537, 2048), (*CLIENT_USAGES, "key encipherment"), True,
            id="RSA",
        ),
        pytest.param(ed25519.Ed25519PrivateKey.generate(), CLIENT_USAGES, True, id="Ed25519"),
    ],
)  # fmt: skip
def test_every_common_kind_of_key_is_signed(key, usages, basic):
    request = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "jane")])
    )
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    pem = request.sign(key, algorithm).public_bytes(serialization.Encoding.PEM)
    ca = create_ca("kubernetes", NOW)
    signed = certificate_requests.sign(ca, pem, usages, now=NOW, validity=timedelta(hours=1))
    certificate = x509.load_pem_x509_certificate(signed)
    certificate.verify_directly_issued_by(ca.certificate)
    assert certificate.public_key() == key.public_key()
    # An empty key usage would make the certificate invalid.
    kinds = [type(extension.value) for extension in certificate.extensions]
    assert (x509.KeyUsage in kinds) is basic
    assert x509.ExtendedKeyUsage in kinds
