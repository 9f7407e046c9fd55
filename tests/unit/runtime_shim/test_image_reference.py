"""Docker's short forms of image names."""

import pytest

from runtime_shim.errors import Code, CriError
from runtime_shim.image_reference import familiar, normalize

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("given", "whole"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("busybox:1", "docker.io/library/busybox:1"),
        ("podpath/busybox", "docker.io/podpath/busybox:latest"),
        ("localhost/a", "localhost/a:latest"),
        ("localhost:5000/a:b", "localhost:5000/a:b"),
        ("registry.example:5000/a/b__c", "registry.example:5000/a/b__c:latest"),
        (f"busybox@{DIGEST}", f"docker.io/library/busybox@{DIGEST}"),
        (f"busybox:1@{DIGEST}", f"docker.io/library/busybox@{DIGEST}"),
    ],
)
def test_normalize(given: str, whole: str) -> None:
    assert normalize(given) == whole
    assert normalize(familiar(whole)) == whole


@pytest.mark.parametrize(
    "given", ["", "UPPER", "a:", "a b", "a@sha256:xyz", "-a", "a//b", "a:b:c d", "x" * 300, "a\n"]
)
def test_malformed_names_are_refused(given: str) -> None:
    with pytest.raises(CriError) as raised:
        normalize(given)
    assert raised.value.code is Code.INVALID_ARGUMENT
