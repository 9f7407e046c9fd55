"""Container images without a builder or a registry: a static busybox in a docker-archive tar.

`nerdctl load -i`, `ctr images import` and `docker load` read it. The result is the same, byte for
byte, for the same busybox.
"""

import gzip
import hashlib
import io
import json
import platform
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

BUSYBOX = Path("/bin/busybox")
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_ENVIRONMENT = ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",)
_DIRECTORIES = ("bin", "etc", "home", "root", "tmp", "usr", "usr/bin", "var", "var/run", "var/www")
_PASSWD = """root:x:0:0:root:/root:/bin/sh
nobody:x:65534:65534:nobody:/home:/bin/false
"""
_GROUP = "root:x:0:\nnogroup:x:65534:\n"


class ImageBuildError(RuntimeError):
    """The image cannot be built; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """One image. `files` maps absolute paths to contents; scripts (`#!`) become executable.
    `programs` maps absolute paths to binaries; setuid programs run with root's rights."""

    names: Sequence[str]
    command: Sequence[str] = ("sh",)
    entrypoint: Sequence[str] = ()
    user: str = ""
    working_dir: str = ""
    stop_signal: str = ""
    environment: Sequence[str] = ()
    ports: Sequence[str] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    programs: Mapping[str, bytes] = field(default_factory=dict)
    setuid_programs: Mapping[str, bytes] = field(default_factory=dict)
    passwd: str = _PASSWD
    group: str = _GROUP


BUSYBOX_IMAGE = ImageSpec(names=("docker.io/podpath/busybox:latest",))
PAUSE_IMAGE = ImageSpec(
    names=("docker.io/podpath/pause:3.10",),
    # As PID 1 of a shared PID namespace it reaps whatever ends there (`wait` takes every child),
    # ends at once when told to, and never wakes up otherwise.
    command=(
        "sh",
        "-c",
        "trap 'exit 0' TERM INT; mkfifo /dev/pause; "
        "while :; do (read -r _ <> /dev/pause) & wait $!; done",
    ),
)


def build(spec: ImageSpec, busybox: Path = BUSYBOX) -> bytes:
    """A docker-archive tar with one layer. Raises: ImageBuildError."""
    layer = _layer(spec, busybox)
    config = _config(spec, hashlib.sha256(layer).hexdigest())
    config_name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = json.dumps(
        [{"Config": config_name, "RepoTags": list(spec.names), "Layers": ["layer.tar"]}]
    ).encode()
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        for name, content in (
            (config_name, config),
            ("layer.tar", layer),
            ("manifest.json", manifest),
        ):
            _add_file(archive, name, content, 0o644)
    return output.getvalue()


def oci_blobs(spec: ImageSpec, busybox: Path = BUSYBOX) -> tuple[bytes, bytes, bytes]:
    """(manifest, config, gzipped layer) as a registry stores them. Raises: ImageBuildError."""
    layer = _layer(spec, busybox)
    config = _config(spec, hashlib.sha256(layer).hexdigest())
    packed = gzip.compress(layer, 6, mtime=0)
    media = "application/vnd.docker"
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{media}.distribution.manifest.v2+json",
        "config": _descriptor(f"{media}.container.image.v1+json", config),
        "layers": [_descriptor(f"{media}.image.rootfs.diff.tar.gzip", packed)],
    }
    return json.dumps(manifest).encode(), config, packed


def digest(blob: bytes) -> str:
    """`sha256:...`, as manifests name blobs."""
    return "sha256:" + hashlib.sha256(blob).hexdigest()


def _descriptor(media_type: str, blob: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "size": len(blob), "digest": digest(blob)}


def _layer(spec: ImageSpec, busybox: Path) -> bytes:
    try:
        binary = busybox.read_bytes()
        listed = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise ImageBuildError(f"{busybox}: a static busybox is needed (apt: busybox-static)") from (
            error
        )
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        for name in _DIRECTORIES:
            _add_directory(archive, name)
        _add_file(archive, "bin/busybox", binary, 0o755)
        for applet in listed.stdout.split():
            if applet != "busybox":
                _add_link(archive, f"bin/{applet}", "bin/busybox")
        files = {"/etc/passwd": spec.passwd, "/etc/group": spec.group} | dict(spec.files)
        for path, text in sorted(files.items()):
            mode = 0o755 if text.startswith("#!") else 0o644
            _add_file(archive, path.lstrip("/"), text.encode(), mode)
        for programs, mode in ((spec.programs, 0o755), (spec.setuid_programs, 0o4755)):
            for path, binary in sorted(programs.items()):
                _add_file(archive, path.lstrip("/"), binary, mode)
    return output.getvalue()


def _config(spec: ImageSpec, layer_digest: str) -> bytes:
    config: dict[str, object] = {
        "Env": [*_ENVIRONMENT, *spec.environment],
        "Cmd": list(spec.command),
        "Entrypoint": list(spec.entrypoint),
        "User": spec.user,
        "WorkingDir": spec.working_dir,
        "StopSignal": spec.stop_signal,
        "ExposedPorts": {port: {} for port in spec.ports},
        "Labels": dict(spec.labels),
    }
    machine = platform.machine()
    tree = {
        "architecture": _ARCHITECTURES.get(machine, machine),
        "os": "linux",
        "created": "2024-01-01T00:00:00Z",
        "config": {key: value for key, value in config.items() if value},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer_digest}"]},
        "history": [{"created": "2024-01-01T00:00:00Z", "created_by": "podpath"}],
    }
    return json.dumps(tree).encode()


def _add_file(archive: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    archive.addfile(entry, io.BytesIO(content))


def _add_directory(archive: tarfile.TarFile, name: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
    archive.addfile(entry)


def _add_link(archive: tarfile.TarFile, name: str, target: str) -> None:
    """A hard link: a path that is masked or mounted over takes no other applet with it."""
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname, entry.mode = tarfile.LNKTYPE, target, 0o755
    archive.addfile(entry)
