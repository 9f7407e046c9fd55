"""The folders are import packages, so no other distribution may bring packages of these names."""

import importlib.metadata

import pytest

NAMES = (
    "protos",
    "podpath",
    "apiserver",
    "scheduler",
    "kubelet",
    "runtime_shim",
    "controllers",
)


@pytest.mark.parametrize("name", NAMES)
def test_nobody_else_claims_our_package_names(name):
    claimed = importlib.metadata.packages_distributions().get(name, [])
    assert set(claimed) <= {"podpath"}
