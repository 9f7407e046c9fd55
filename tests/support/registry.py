"""A real image registry on loopback (Debian's docker-registry), and hosts.toml files to it.

With `user` it asks for a password; with `tls` it has a certificate of a private CA.
"""

import base64
import http.client
import secrets
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from podpath.component_base import image_tar

START_TIMEOUT_S = 10.0
_CONFIG = """version: 0.1
log: {{level: warn}}
storage:
  filesystem: {{rootdirectory: {root}/data}}
  delete: {{enabled: true}}
http:
  addr: 127.0.0.1:{port}
{tls}
{auth}
"""


@dataclass(frozen=True, slots=True)
class Tls:
    """Files of a server certificate for 127.0.0.1, and its CA."""

    certificate: Path
    key: Path
    ca: Path


@dataclass(frozen=True, slots=True)
class Registry:
    """A running registry."""

    port: int
    tls: Tls | None = None
    user: str = ""
    password: str = ""

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.host}"

    def push(self, repository: str, tags: Sequence[str], spec: image_tar.ImageSpec) -> str:
        """Stores an image under `repository` and every tag; its digest."""
        manifest, config, layer = image_tar.oci_blobs(spec)
        for blob in (config, layer):
            self._upload(repository, blob)
        for tag in tags:
            self._request(
                "PUT",
                f"/v2/{repository}/manifests/{tag}",
                manifest,
                {"Content-Type": "application/vnd.docker.distribution.manifest.v2+json"},
            )
        return image_tar.digest(manifest)

    def map_names(self, hosts_dir: Path, names: Sequence[str]) -> None:
        """Writes containerd's hosts.toml: pulls from `names` come here and nowhere else."""
        for name in names:
            directory = hosts_dir / name
            directory.mkdir(parents=True, exist_ok=True)
            ca = f'  ca = "{self.tls.ca}"\n' if self.tls else ""
            (directory / "hosts.toml").write_text(
                f'server = "{self.url}"\n[host."{self.url}"]\n'
                f'  capabilities = ["pull", "resolve"]\n{ca}'
            )

    def _upload(self, repository: str, blob: bytes) -> None:
        answer = self._request("POST", f"/v2/{repository}/blobs/uploads/", b"", {})
        location = urlsplit(answer["Location"])
        target = f"{location.path}?{location.query}&digest={image_tar.digest(blob)}"
        kind = {"Content-Type": "application/octet-stream"}
        self._request("PUT", target, blob, kind)

    def _request(
        self, method: str, target: str, body: bytes, headers: dict[str, str]
    ) -> dict[str, str]:
        if self.user:
            pair = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
            headers = headers | {"Authorization": f"Basic {pair}"}
        connection: http.client.HTTPConnection
        if self.tls:
            trust = ssl.create_default_context(cafile=str(self.tls.ca))
            connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=trust)
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.port)
        try:
            connection.request(method, target, body, headers)
            response = connection.getresponse()
            text = response.read()
            if response.status >= 300:
                raise RuntimeError(f"{method} {target}: {response.status} {text[:300]!r}")
            return dict(response.getheaders())
        finally:
            connection.close()


def available() -> str:
    """Why no registry can run here; "" if one can."""
    return "" if shutil.which("docker-registry") else "docker-registry is not installed (apt)"


@contextmanager
def running(
    root: Path, *, tls: Tls | None = None, user: str = "", password: str = ""
) -> Iterator[Registry]:
    """Starts one in `root`; it is gone with the block."""
    root.mkdir(parents=True, exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = root / "config.yml"
    config.write_text(
        _CONFIG.format(
            root=root,
            port=port,
            tls=f"  tls: {{certificate: {tls.certificate}, key: {tls.key}}}" if tls else "",
            auth=_auth(root, user, password),
        )
    )
    program = shutil.which("docker-registry") or ""
    with open(root / "log", "wb") as log:
        process = subprocess.Popen([program, "serve", str(config)], stdout=log, stderr=log)
    try:
        _wait_for(port, process, root / "log")
        yield Registry(port, tls, user, password)
    finally:
        process.terminate()
        process.wait(10)


def _auth(root: Path, user: str, password: str) -> str:
    if not user:
        return ""
    hashed = _bcrypt(user, password)
    (root / "htpasswd").write_text(hashed + "\n")
    return f"auth: {{htpasswd: {{realm: test, path: {root}/htpasswd}}}}"


def _bcrypt(user: str, password: str) -> str:
    """The registry takes bcrypt only: the C library's crypt(3), which perl has at hand."""
    salt = "$2y$05$" + secrets.token_hex(11)
    argv = ["perl", "-e", "print crypt($ARGV[0], $ARGV[1])", password, salt]
    hashed = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    return f"{user}:{hashed}"


def _wait_for(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(log.read_text()[-2000:]) from None
            time.sleep(0.02)
