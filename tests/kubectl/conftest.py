"""One API server for all tests of a module; each test has a namespace of its own."""

import uuid
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.kubectl import Kubectl, running_kubectl


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def kubectl() -> AsyncIterator[Kubectl]:
    async with running_kubectl() as command:
        yield command


@pytest_asyncio.fixture(loop_scope="module")
async def namespace(kubectl: Kubectl) -> str:
    name = f"t-{uuid.uuid4().hex[:8]}"
    await kubectl("create", "namespace", name)
    await kubectl("-n", name, "create", "serviceaccount", "default")
    return name


@pytest.fixture
def pod() -> str:
    return """
apiVersion: v1
kind: Pod
metadata:
  name: web
  labels: {app: web}
spec:
  containers:
  - name: c
    image: busybox:1
    command: [sleep, "1000"]
    env:
    - {name: A, value: "1"}
    - {name: B, value: "2"}
    resources:
      requests: {cpu: 100m, memory: 16Mi}
"""
