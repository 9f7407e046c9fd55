"""crictl, unmodified, on both backends: what a person at a node does."""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from podpath.component_base import binaries
from tests.support import containerd
from tests.support.shim_process import ShimProcess, shim_on

pytestmark = pytest.mark.e2e

IMAGE = "podpath/busybox:latest"


class Crictl:
    """crictl with a configuration of its own."""

    def __init__(self, shim: ShimProcess, backend: str) -> None:
        self.shim = shim
        self.backend = backend
        self._config = shim.directory / "crictl.yaml"
        self._config.write_text(
            f"runtime-endpoint: {shim.endpoint}\nimage-endpoint: {shim.endpoint}\ntimeout: 20\n"
        )

    def run(self, *words: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        argv = [binaries.find("crictl"), f"--config={self._config}", *words]
        return subprocess.run(
            argv, input=stdin, capture_output=True, text=True, timeout=60, check=False
        )

    def __call__(self, *words: str, stdin: str = "") -> str:
        done = self.run(*words, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module", params=["fake", "nerdctl"])
def crictl(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Crictl]:
    root = tmp_path_factory.mktemp(request.param)
    if request.param == "fake":
        shim = ShimProcess(root, ["--backend=fake"])
        shim.start()
        yield Crictl(shim, "fake")
        shim.stop()
        return
    if problem := containerd.available():
        pytest.skip(problem)
    with (
        containerd.running(root / "containerd") as engine,
        shim_on(root, engine, "crictl").running() as shim,
    ):
        yield Crictl(shim, "nerdctl")


@pytest.fixture
def pod(crictl: Crictl, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """(sandbox, running container)."""
    sandbox = {
        "metadata": {"name": "pod", "namespace": "default", "uid": "uid-1", "attempt": 0},
        "hostname": "pod",
        "log_directory": str(tmp_path / "logs"),
        "annotations": {"fake.podpath.io/log": "hello from the container"},
        "linux": {"security_context": {"namespace_options": {"pid": 1}}},
    }
    container = {
        "metadata": {"name": "main"},
        "image": {"image": IMAGE},
        "command": ["sh", "-c", "echo hello from the container; sleep 1000"],
        "log_path": "main.log",
        "linux": {"security_context": {"namespace_options": {"pid": 1}}},
    }
    files = tmp_path / "pod.json", tmp_path / "container.json"
    for path, tree in zip(files, (sandbox, container), strict=True):
        path.write_text(json.dumps(tree))
    if crictl.backend == "fake":
        crictl("pull", IMAGE)
    sandbox_id = crictl("runp", str(files[0])).strip()
    container_id = crictl("create", sandbox_id, str(files[1]), str(files[0])).strip()
    crictl("start", container_id)
    yield sandbox_id, container_id
    crictl("stopp", sandbox_id)
    crictl("rmp", sandbox_id)
    assert crictl("pods", "--quiet") == ""
    assert crictl("ps", "--all", "--quiet") == ""


def test_it_is_listed(crictl: Crictl, pod: tuple[str, str]) -> None:
    assert crictl("pods", "--quiet").strip() == pod[0]
    assert crictl("ps", "--quiet").strip() == pod[1]
    table = crictl("ps")
    assert "Running" in table
    assert "main" in table


def test_logs(crictl: Crictl, pod: tuple[str, str]) -> None:
    deadline = time.monotonic() + 5
    while "hello from the container" not in (said := crictl("logs", pod[1])):
        assert time.monotonic() < deadline, said
        time.sleep(0.05)


@pytest.mark.parametrize("transport", ["spdy", "websocket"])
def test_exec(crictl: Crictl, pod: tuple[str, str], transport: str) -> None:
    via = ("exec", f"--transport={transport}")
    assert crictl(*via, pod[1], "echo", "hi") == "hi\n"
    assert crictl(*via, "--interactive", pod[1], "cat", stdin="typed\n") == "typed\n"
    failed = crictl.run(*via, pod[1], "sh", "-c", "exit 3")
    assert "exit code 3" in failed.stderr


def test_exec_sync(crictl: Crictl, pod: tuple[str, str]) -> None:
    assert crictl("exec", "--sync", pod[1], "echo", "hi").strip() == "hi"


def test_stop_and_remove(crictl: Crictl, pod: tuple[str, str]) -> None:
    crictl("stop", "--timeout=0", pod[1])
    status = json.loads(crictl("inspect", pod[1]))["status"]
    assert (status["state"], status["exitCode"]) == ("CONTAINER_EXITED", 137)
    crictl("rm", pod[1])
    assert crictl("ps", "--all", "--quiet") == ""


def test_images(crictl: Crictl, pod: tuple[str, str]) -> None:
    assert "podpath/busybox" in crictl("images")
    assert json.loads(crictl("inspecti", IMAGE))["status"]["repoTags"] == [f"docker.io/{IMAGE}"]


def test_stats(crictl: Crictl, pod: tuple[str, str]) -> None:
    stats = json.loads(crictl("stats", "--output=json", pod[1]))["stats"]
    assert int(stats[0]["memory"]["workingSetBytes"]["value"]) > 0


def test_info(crictl: Crictl) -> None:
    conditions = json.loads(crictl("info"))["status"]["conditions"]
    assert all(condition["status"] for condition in conditions)
