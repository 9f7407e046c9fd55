"""Kubernetes' Status in gRPC errors and back."""

import grpc
import pytest

from podpath.api import errors
from podpath.api.errors import REASONS
from podpath.client import grpc_status


def received(code, details="", metadata=()):
    trailing = grpc.aio.Metadata(*metadata)
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailing, details=details)


@pytest.mark.parametrize("reason", sorted(REASONS))
def test_every_reason_comes_through_whole(reason):
    sent = errors.new(reason, "because")
    sent.status.details.name = "x"
    code, message, metadata = grpc_status.encode(sent)
    assert code.name == REASONS[reason][1]
    assert grpc_status.decode(received(code, message, metadata)).status == sent.status


def test_long_errors_fit_into_a_header():
    causes = [errors.required(f"spec.containers[{i}].name") for i in range(500)]
    sent = errors.invalid_object("", "Pod", "x", causes)
    code, message, metadata = grpc_status.encode(sent)
    size = len(message) + sum(len(key) + len(value) for key, value in metadata)
    assert size < 8192
    got = grpc_status.decode(received(code, message, metadata))
    assert (got.reason, got.code) == ("Invalid", 422)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        pytest.param(grpc.StatusCode.UNAVAILABLE, "ServiceUnavailable", id="connection lost"),
        pytest.param(grpc.StatusCode.DEADLINE_EXCEEDED, "Timeout", id="deadline"),
        pytest.param(grpc.StatusCode.UNKNOWN, "InternalError", id="anything else"),
    ],
)
def test_errors_without_a_status(code, reason):
    assert grpc_status.decode(received(code, "text")).reason == reason
