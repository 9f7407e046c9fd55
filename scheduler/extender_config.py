"""`extenders` of a configuration file: how each webhook is reached and what it is asked.

Source: k8s.io/kube-scheduler config/v1/types.go (Extender), pkg/scheduler/extender.go
(makeTransport).
"""

import base64
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from podpath.component_base import durations

DEFAULT_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """Files, or their content in base64 (`*Data`), which wins."""

    insecure: bool = False
    server_name: str = ""
    ca: bytes = b""
    cert: bytes = b""
    key: bytes = b""

    @classmethod
    def read(cls, tree: Mapping[str, Any], *, needs_ca: bool) -> "TlsConfig":
        """Without `needs_ca` the system's authorities stand in for one that is not given.

        Raises: OSError, ValueError.
        """

        def content(of: str) -> bytes:
            if tree.get(f"{of}Data"):
                return base64.b64decode(tree[f"{of}Data"], validate=True)
            path = tree.get(f"{of}File")
            return Path(path).read_bytes() if path else b""

        ca = content("ca")
        insecure = tree.get("insecure", False) or (needs_ca and not ca)
        return cls(insecure, tree.get("serverName", ""), ca, content("cert"), content("key"))

    def context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=self.ca.decode() or None)
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.cert:
            with NamedTemporaryFile() as pair:  # ssl takes certificates from files only
                pair.write(self.cert + b"\n" + self.key)
                pair.flush()
                context.load_cert_chain(pair.name)
        return context


@dataclass(frozen=True, slots=True)
class ExtenderConfig:
    """A verb that is empty is not asked for."""

    url_prefix: str
    filter_verb: str = ""
    prioritize_verb: str = ""
    preempt_verb: str = ""
    bind_verb: str = ""
    weight: int = 1
    timeout_s: float = DEFAULT_TIMEOUT_S
    node_cache_capable: bool = False
    ignorable: bool = False
    managed_resources: tuple[str, ...] = ()
    ignored_by_scheduler: tuple[str, ...] = ()
    """Those of the managed resources that NodeResourcesFit leaves to the webhook."""
    tls: TlsConfig = field(default_factory=TlsConfig)

    @classmethod
    def read(cls, tree: Mapping[str, Any]) -> "ExtenderConfig":
        """Of a checked tree. Raises: OSError, ValueError."""
        managed = tree.get("managedResources") or ()
        timeout = durations.seconds(tree.get("httpTimeout") or "0s")
        return cls(
            tree.get("urlPrefix", "").rstrip("/"),
            tree.get("filterVerb", ""),
            tree.get("prioritizeVerb", ""),
            tree.get("preemptVerb", ""),
            tree.get("bindVerb", ""),
            tree.get("weight", 0),
            timeout or DEFAULT_TIMEOUT_S,
            tree.get("nodeCacheCapable", False),
            tree.get("ignorable", False),
            tuple(item["name"] for item in managed),
            tuple(item["name"] for item in managed if item.get("ignoredByScheduler")),
            # With enableHTTPS and no CA upstream does not verify the webhook.
            TlsConfig.read(tree.get("tlsConfig") or {}, needs_ca=tree.get("enableHTTPS", False)),
        )
