"""Reading and writing kubeconfig files, with podpath's gRPC door as a cluster extension.

The HTTPS door is the cluster's `server`; the gRPC door is the extension `podpath.io/grpc` of the
cluster entry: `extension: {server: "127.0.0.1:PORT"}`, and `tokenServer` where clients without a
certificate are let in. kubectl ignores extensions, so one file serves both.

Source: k8s.io/client-go tools/clientcmd (api/v1/types.go, client_config.go, loader.go).
"""

import base64
import binascii
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

GRPC_EXTENSION = "podpath.io/grpc"


class KubeConfigError(ValueError):
    """The file is missing, not YAML, or lacks a field. The message names path and field."""


@dataclass(frozen=True, slots=True)
class KubeConfig:
    """How to reach one cluster as one user. Certificates and keys are PEM; empty when absent."""

    server: str
    grpc_address: str = ""
    grpc_token_address: str = ""
    ca: bytes = b""
    cert: bytes = b""
    key: bytes = b""
    token: str = ""
    token_file: str = ""
    namespace: str = "default"
    tls_server_name: str = ""
    insecure_skip_tls_verify: bool = False
    context: str = ""
    user: str = ""

    def bearer_token(self) -> str:
        """The token to send now: a token file is read anew, since it may be rotated.

        Raises: KubeConfigError when the token file cannot be read.
        """
        if not self.token_file:
            return self.token
        try:
            return Path(self.token_file).read_text("utf-8").strip()
        except OSError as error:
            raise KubeConfigError(f"tokenFile {self.token_file}: {error.strerror}") from None


def load(path: str | Path, context: str = "") -> KubeConfig:
    """The cluster and user of `context` (empty: current-context) in the file `path`.

    Relative file names in it are relative to the kubeconfig's directory. Raises: KubeConfigError.
    """
    path = Path(path)
    document = _read(path)
    name = context or str(document.get("current-context") or "")
    if not name:
        raise KubeConfigError(f"{path}: current-context: not set, and no context was asked for")
    entry = _entry(document, path, "contexts", name, "context")
    cluster_name = _text(entry, path, f"contexts[{name}].context.cluster", "cluster")
    user_name = str(entry.get("user") or "")
    cluster = _entry(document, path, "clusters", cluster_name, "cluster")
    user = _entry(document, path, "users", user_name, "user") if user_name else {}
    where_cluster = f"clusters[{cluster_name}].cluster"
    where_user = f"users[{user_name}].user"
    cert = _pem(user, path, where_user, "client-certificate")
    key = _pem(user, path, where_user, "client-key")
    if bool(cert) != bool(key):
        missing = "client-key" if cert else "client-certificate"
        raise KubeConfigError(f"{path}: {where_user}.{missing}: missing, but its other half is set")
    token_file = str(user.get("tokenFile") or "")
    return KubeConfig(
        server=_text(cluster, path, f"{where_cluster}.server", "server"),
        grpc_address=_grpc_address(cluster, path, where_cluster, "server"),
        grpc_token_address=_grpc_address(cluster, path, where_cluster, "tokenServer"),
        ca=_pem(cluster, path, where_cluster, "certificate-authority"),
        cert=cert,
        key=key,
        token=str(user.get("token") or ""),
        token_file=str(path.parent / token_file) if token_file else "",
        namespace=str(entry.get("namespace") or "default"),
        tls_server_name=str(cluster.get("tls-server-name") or ""),
        insecure_skip_tls_verify=bool(cluster.get("insecure-skip-tls-verify")),
        context=name,
        user=user_name,
    )


def to_document(config: KubeConfig, name: str) -> dict[str, Any]:
    """A kubeconfig with one context, cluster and user, all called `name`; data is embedded."""
    cluster: dict[str, Any] = {"server": config.server}
    if config.ca:
        cluster["certificate-authority-data"] = _base64(config.ca)
    if config.tls_server_name:
        cluster["tls-server-name"] = config.tls_server_name
    if config.insecure_skip_tls_verify:
        cluster["insecure-skip-tls-verify"] = True
    if config.grpc_address:
        addresses = {"server": config.grpc_address}
        if config.grpc_token_address:
            addresses["tokenServer"] = config.grpc_token_address
        cluster["extensions"] = [{"name": GRPC_EXTENSION, "extension": addresses}]
    user: dict[str, Any] = {}
    if config.cert:
        user["client-certificate-data"] = _base64(config.cert)
        user["client-key-data"] = _base64(config.key)
    if config.token_file:
        user["tokenFile"] = config.token_file
    elif config.token:
        user["token"] = config.token
    context: dict[str, Any] = {"cluster": name, "user": name}
    if config.namespace and config.namespace != "default":
        context["namespace"] = config.namespace
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": context}],
        "current-context": name,
        "preferences": {},
    }


def write(path: str | Path, config: KubeConfig, name: str = "podpath") -> None:
    """Writes a kubeconfig that holds only this one context; mode 0600, replaced at once."""
    _store(Path(path), to_document(config, name))


def merge_context(
    path: str | Path, config: KubeConfig, name: str = "podpath", *, make_current: bool = True
) -> None:
    """Adds or replaces context, cluster and user `name` in an existing file; keeps all others.

    Raises: KubeConfigError when the file is there and is no kubeconfig (it is not touched then).
    """
    path = Path(path)
    own = to_document(config, name)
    document = _read(path) if path.exists() else {}
    document.setdefault("apiVersion", "v1")
    document.setdefault("kind", "Config")
    for section in ("clusters", "users", "contexts"):
        others = [e for e in _list(document, path, section) if e.get("name") != name]
        document[section] = [*others, *own[section]]
    if make_current or not document.get("current-context"):
        document["current-context"] = name
    _store(path, document)


def remove_context(path: str | Path, name: str = "podpath") -> None:
    """Takes context, cluster and user `name` out of the file; nothing happens without a file."""
    path = Path(path)
    if not path.exists():
        return
    document = _read(path)
    for section in ("clusters", "users", "contexts"):
        document[section] = [e for e in _list(document, path, section) if e.get("name") != name]
    if document.get("current-context") == name:
        document["current-context"] = ""
    _store(path, document)


def _read(path: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise KubeConfigError(f"kubeconfig {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise KubeConfigError(f"kubeconfig {path}: not valid YAML: {reason}") from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise KubeConfigError(f"kubeconfig {path}: a mapping was expected")
    return document


def _list(document: Mapping[str, Any], path: Path, section: str) -> list[dict[str, Any]]:
    entries = document.get(section) or []
    if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
        raise KubeConfigError(f"{path}: {section}: a list of mappings was expected")
    return entries


def _entry(
    document: Mapping[str, Any], path: Path, section: str, name: str, body: str
) -> dict[str, Any]:
    for entry in _list(document, path, section):
        if entry.get("name") == name:
            value = entry.get(body) or {}
            if not isinstance(value, dict):
                raise KubeConfigError(f"{path}: {section}[{name}].{body}: a mapping was expected")
            return value
    raise KubeConfigError(f"{path}: {section}: there is none named {name!r}")


def _text(entry: Mapping[str, Any], path: Path, where: str, field: str) -> str:
    value = entry.get(field)
    if not isinstance(value, str) or not value:
        raise KubeConfigError(f"{path}: {where}: missing")
    return value


def _pem(entry: Mapping[str, Any], path: Path, where: str, field: str) -> bytes:
    """`FIELD-data` (base64) wins over the file named by `FIELD`, as upstream's loader has it."""
    data = entry.get(f"{field}-data")
    if data:
        try:
            return base64.b64decode(str(data), validate=True)
        except (binascii.Error, ValueError):
            raise KubeConfigError(f"{path}: {where}.{field}-data: not valid base64") from None
    name = entry.get(field)
    if not name:
        return b""
    file = path.parent / str(name)
    try:
        return file.read_bytes()
    except OSError as error:
        raise KubeConfigError(f"{path}: {where}.{field}: {file}: {error.strerror}") from None


def _grpc_address(cluster: Mapping[str, Any], path: Path, where: str, field: str) -> str:
    for extension in _list(cluster, path, "extensions"):
        if extension.get("name") != GRPC_EXTENSION:
            continue
        body = extension.get("extension")
        server = body.get(field, "") if isinstance(body, dict) else None
        if not isinstance(server, str) or (not server and field == "server"):
            raise KubeConfigError(f"{path}: {where}.extensions[{GRPC_EXTENSION}].{field}: missing")
        return server
    return ""


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _store(path: Path, document: Mapping[str, Any]) -> None:
    """Replaces the file in one step, so that a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # mkstemp makes the file with mode 0600: it holds keys.
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            yaml.safe_dump(document, stream, sort_keys=False)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
