"""Door 2, wired: the gateway of `http_gateway/` on the HTTPS port."""

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from apiserver.authentication.service_account_tokens import KeyFileError
from apiserver.config import Config
from apiserver.handler_chain import HandlerChain
from apiserver.http_gateway.context import Check, Context
from apiserver.http_gateway.gateway import Gateway
from apiserver.http_gateway.kubelet_proxy import KubeletProxy, kubelet_tls
from apiserver.http_gateway.openid import OpenIdMetadata
from apiserver.http_gateway.server import listening, tls_context
from apiserver.http_gateway.system_paths import SystemPaths
from apiserver.policy import Rules
from podpath.api import scheme
from podpath.component_base.clock import Clock
from podpath.component_base.config import ConfigError


@asynccontextmanager
async def https_door(
    config: Config, chain: HandlerChain, rules: Rules, clock: Clock, *, ready: Callable[[], bool]
) -> AsyncIterator[None]:
    """Serves while the block runs; with port 0 it is closed. Raises: ConfigError, OSError."""
    if not config.secure_port:
        yield
        return
    address = f"{config.bind_address}:{config.secure_port}"
    context = Context(
        verbs=chain,
        authenticator=rules.authenticator,
        authorizer=rules.authorizer,
        resources=tuple(scheme.resources()),
        clock=clock,
        ready_checks=(Check("informer-sync", ready),),
        openid=_openid(config, address),
    )
    gateway = Gateway(context, SystemPaths(context, address), KubeletProxy(_kubelet_tls(config)))
    async with listening(gateway, config.bind_address, config.secure_port, _tls(config)):
        yield


def _tls(config: Config) -> ssl.SSLContext:
    client_ca = Path(config.client_ca_file) if config.client_ca_file else None
    try:
        return tls_context(Path(config.tls_cert_file), Path(config.tls_private_key_file), client_ca)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"--tls-cert-file {config.tls_cert_file}: {error}") from None


def _openid(config: Config, address: str) -> OpenIdMetadata | None:
    files = config.service_account_key_file
    try:
        return OpenIdMetadata.from_files(config.service_account_issuer, files, address)
    except (OSError, KeyFileError) as error:
        raise ConfigError(f"--service-account-key-file: {error}") from None


def _kubelet_tls(config: Config) -> ssl.SSLContext:
    """What kubelets are shown and how their certificates are verified."""
    try:
        return kubelet_tls(
            config.kubelet_certificate_authority,
            config.kubelet_client_certificate,
            config.kubelet_client_key,
        )
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"--kubelet-client-certificate: {error}") from None
