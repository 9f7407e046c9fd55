"""A containerd of one's own: temporary root, state and socket; nothing of it is left afterwards."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from podpath.component_base import binaries, image_tar
from tests.support.addresses import free_pod_cidr

START_TIMEOUT_S = 20.0
_CONFIG = """version = 2
root = "{root}/root"
state = "{root}/state"
disabled_plugins = [{disabled}]
oom_score = 0
[grpc]
address = "{root}/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
path = "{root}/opt"
{more}
"""


_CRI_CONFIG = """[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "docker.io/podpath/pause:3.10"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{root}/cni"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{hosts}"
"""
CRI_NAMESPACE = "k8s.io"


@dataclass(frozen=True, slots=True)
class Containerd:
    """A running containerd."""

    root: Path
    address: str
    pid: int

    def nerdctl(self, namespace: str, *arguments: str) -> str:
        """Runs nerdctl on it; its output."""
        argv = [
            binaries.find("nerdctl"),
            f"--address={self.address}",
            f"--namespace={namespace}",
            f"--data-root={self.root}/nerdctl",
            *arguments,
        ]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout

    def load(self, namespace: str, spec: image_tar.ImageSpec) -> None:
        """Builds an image and loads it."""
        path = self.root / "image.tar"
        path.write_bytes(image_tar.build(spec))
        self.nerdctl(namespace, "load", "--input", str(path))
        path.unlink()


def available() -> str:
    """Why no containerd can run here; "" if one can."""
    if os.geteuid() != 0:
        return "needs root"
    for name in ("containerd", "runc", "nerdctl"):
        try:
            binaries.find(name)
        except binaries.BinaryNotFoundError as error:
            return str(error)
    return ""


@contextmanager
def running(root: Path, *, cri: bool = False, more_config: str = "") -> Iterator[Containerd]:
    """Starts it in `root` (made if missing) and removes everything at the end."""
    root.mkdir(parents=True, exist_ok=True)
    config = root / "config.toml"
    disabled = "" if cri else '"io.containerd.grpc.v1.cri"'
    config.write_text(_CONFIG.format(root=root, disabled=disabled, more=more_config))
    with open(root / "log", "wb") as log:
        process = subprocess.Popen(
            [binaries.find("containerd"), "--config", str(config)], stdout=log, stderr=log
        )
    try:
        _wait_for(root, process)
        yield Containerd(root, f"{root}/containerd.sock", process.pid)
    finally:
        _kill_shims(root)
        process.terminate()
        process.wait(10)
        _unmount_below(root)
        shutil.rmtree(root, ignore_errors=True)


@contextmanager
def running_cri(root: Path, hosts: Path | None = None) -> Iterator[Containerd]:
    """With its own CRI, a bridge for its Pods and the pause image."""
    subnet = free_pod_cidr()
    bridge = "cri" + "-".join(subnet.split(".")[1:3])
    network = {
        "cniVersion": "1.0.0",
        "name": bridge,
        "plugins": [
            {
                "type": "bridge",
                "bridge": bridge,
                "isGateway": True,
                "ipMasq": True,
                "ipam": {
                    "type": "host-local",
                    "dataDir": f"{root}/ipam",
                    "ranges": [[{"subnet": subnet}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True},
        ],
    }
    (root / "cni").mkdir(parents=True)
    (root / "cni" / "10-test.conflist").write_text(json.dumps(network))
    more = _CRI_CONFIG.format(root=root, hosts=hosts or root / "hosts")
    with running(root, cri=True, more_config=more) as engine:
        engine.load(CRI_NAMESPACE, image_tar.PAUSE_IMAGE)
        try:
            yield engine
        finally:
            subprocess.run(["ip", "link", "delete", bridge], capture_output=True, check=False)


def _wait_for(root: Path, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while "containerd successfully booted" not in (root / "log").read_text():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError((root / "log").read_text()[-2000:])
        time.sleep(0.02)


def _kill_shims(root: Path) -> None:
    """containerd's shims, and with them their containers, by the socket they were given."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"containerd-shim" in words[0] and f"{root}/containerd.sock".encode() in words:
            _kill_children(int(entry.name))
            _kill(int(entry.name))


def _kill_children(pid: int) -> None:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    try:
        found = children.read_text().split()
    except OSError:
        return
    for child in found:
        _kill(int(child))


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _unmount_below(root: Path) -> None:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [line.split(" ")[4] for line in lines]
    for point in sorted((p for p in points if p.startswith(f"{root}/")), reverse=True):
        subprocess.run(["umount", "--lazy", point], check=False)
