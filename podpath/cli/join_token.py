"""`python -m podpath.cli.join_token --kubeconfig ADMIN --server HOST`: a kubeconfig to join with.

Makes a bootstrap token, stores it and prints a kubeconfig that holds it. Runs inside the control
plane, so the token is seen by nobody but who asked for it.

Source: k8s.io/kubernetes cmd/kubeadm/app/phases/bootstraptoken/node/token.go.
"""

import argparse
import asyncio
import secrets
import string
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import yaml

from podpath.api import scheme
from podpath.api.errors import ApiError
from podpath.client import kubeconfig
from podpath.client.grpc import GrpcClient
from podpath.client.interface import Client
from podpath.client.kubeconfig import KubeConfig, KubeConfigError
from podpath.component_base.clock import SystemClock
from protos.k8s.core_v1_pb2 import Secret

GROUP = "system:bootstrappers:podpath:default-node-token"
LIFETIME = timedelta(minutes=30)
_ALPHABET = string.ascii_lowercase + string.digits


@dataclass(frozen=True, slots=True)
class Token:
    """`id` is public, `secret` is not."""

    id: str
    secret: str

    def __str__(self) -> str:
        return f"{self.id}.{self.secret}"


def new_token(choose: Callable[[str], str] = secrets.choice) -> Token:
    return Token(
        "".join(choose(_ALPHABET) for _ in range(6)),
        "".join(choose(_ALPHABET) for _ in range(16)),
    )


def secret_of(token: Token, expires: datetime) -> Secret:
    """The Secret that makes the API server know the token."""
    secret = Secret(type="bootstrap.kubernetes.io/token")
    secret.metadata.namespace, secret.metadata.name = "kube-system", f"bootstrap-token-{token.id}"
    for key, value in {
        "token-id": token.id,
        "token-secret": token.secret,
        "expiration": expires.isoformat(timespec="seconds"),
        "usage-bootstrap-authentication": "true",
        "auth-extra-groups": GROUP,
        "description": "made by podpath for nodes to join with",
    }.items():
        secret.data[key] = value.encode()
    return secret


async def make(client: Client, now: datetime) -> Token:
    """A token that the API server knows. Removes those that have expired. Raises: ApiError."""
    for old in (await client.list(scheme.SECRETS)).items:
        if old.type != "bootstrap.kubernetes.io/token":
            continue
        expires = old.data.get("expiration", b"").decode()
        if expires and datetime.fromisoformat(expires) < now:
            await client.delete(scheme.SECRETS, old.metadata.namespace, old.metadata.name)
    token = new_token()
    await client.create(scheme.SECRETS, secret_of(token, now + LIFETIME))
    return token


async def _run(admin: KubeConfig, server: str) -> KubeConfig:
    async with GrpcClient(admin) as client:
        token = await make(client, SystemClock().now())
    return KubeConfig(
        server=f"https://{server}:6443",
        grpc_address=f"{server}:6444",
        grpc_token_address=f"{server}:6445",
        ca=admin.ca,
        token=str(token),
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="podpath.cli.join_token", description=__doc__)
    parser.add_argument("--kubeconfig", required=True, help="the administrator's")
    parser.add_argument("--server", required=True, help="host name of the control plane for nodes")
    arguments = parser.parse_args()
    try:
        config = asyncio.run(_run(kubeconfig.load(arguments.kubeconfig), arguments.server))
    except (ApiError, KubeConfigError) as error:
        print(f"join_token: {error}", file=sys.stderr)
        return 1
    yaml.safe_dump(kubeconfig.to_document(config, "podpath"), sys.stdout, sort_keys=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
