"""Routes to other nodes, and when certificates are renewed."""

import random
from datetime import timedelta

import pytest

from kubelet import routes
from kubelet.certificates import RefusedError, outcome, renewal_time
from kubelet.pod_network import decide
from kubelet.routes import Route
from podpath.component_base.certificates import client, create_ca, issue
from podpath.component_base.clock import FakeClock
from protos.k8s.certificates_v1_pb2 import CertificateSigningRequest

A, B = Route("10.1.1.0/24", "172.16.0.1"), Route("10.1.2.0/24", "172.16.0.2")


@pytest.mark.parametrize(
    ("wanted", "present", "missing", "stale"),
    [
        pytest.param({}, [], [], [], id="nothing"),
        pytest.param({"a": "10.1.1.0/24 172.16.0.1"}, [], [A], [], id="a new node"),
        pytest.param({"a": "10.1.1.0/24 172.16.0.1"}, [A], [], [], id="as it is"),
        pytest.param({}, [A, B], [], [A, B], id="nodes gone"),
        pytest.param({"me": "10.1.1.0/24 172.16.0.1"}, [], [], [], id="never to oneself"),
        pytest.param({"a": "nonsense"}, [], [], [], id="unreadable"),
        pytest.param(
            {"a": "10.1.1.0/24 172.16.0.9"},
            [A],
            [Route("10.1.1.0/24", "172.16.0.9")],
            [],
            id="moved: replaced, not deleted",
        ),
    ],
)
def test_which_routes_change(wanted, present, missing, stale):
    assert decide(wanted, "me", present) == (missing, stale)


def test_a_route_survives_the_wire():
    request = routes.encode(24, 0, A)
    assert list(routes.decode(request)) == [A]
    [(kind, body)] = list(routes.messages(request))
    assert kind == 24
    assert len(request) == len(body) + 16 == 44


def test_routes_of_others_are_not_ours():
    request = bytearray(routes.encode(24, 0, A))
    request[16 + 5] = 2  # protocol: the kernel's own
    assert list(routes.decode(bytes(request))) == []


def test_renewal_is_between_70_and_90_percent_of_the_life():
    clock = FakeClock()
    ca = create_ca("test", clock.now())
    certificate = issue(ca, client("x"), clock.now()).certificate
    start = certificate.not_valid_before_utc
    life = certificate.not_valid_after_utc - start
    found = [renewal_time(certificate, random.Random(seed)) for seed in range(50)]
    assert min(found) >= start + life * 0.7
    assert max(found) <= start + life * 0.9
    assert max(found) - min(found) > timedelta(days=20)


@pytest.mark.parametrize("type_", ["Denied", "Failed"])
def test_a_refusal_is_told_with_its_reason(type_):
    csr = CertificateSigningRequest()
    csr.metadata.name = "c"
    csr.status.conditions.add(type=type_, reason="Why", message="because")
    with pytest.raises(RefusedError, match=f"c is {type_.lower()}: Why: because"):
        outcome(csr)
