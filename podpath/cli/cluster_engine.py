"""The container engine of a cluster on containers: docker, podman or nerdctl, by its command line.

What a cluster consists of is found by labels, so nothing about it is remembered elsewhere.
"""

import json
import resource
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from podpath.cli.layout import ClusterError

ENGINES = ("docker", "podman", "nerdctl")
_PODMAN_PROCESSES = 32768  # what it limits itself to
TIMEOUT_S = 120.0

CLUSTER_LABEL = "io.podpath.cluster"
ROLE_LABEL = "io.podpath.role"
NODE_LABEL = "io.podpath.node"
DIGEST_LABEL = "io.podpath.digest"


@dataclass(frozen=True, slots=True)
class Engine:
    """One engine's program. Every method raises ClusterError with the engine's own words."""

    program: str

    @classmethod
    def find(cls, name: str) -> "Engine":
        """The engine of that name, or the first of ENGINES that answers for `auto`."""
        wanted = ENGINES if name == "auto" else (name,)
        problems = []
        for candidate in wanted:
            program = shutil.which(candidate)
            if program is None:
                problems.append(f"{candidate} is not installed")
                continue
            engine = cls(program)
            problem = engine.problem()
            if not problem:
                return engine
            problems.append(f"{candidate}: {problem}")
        raise ClusterError(
            f"no container engine can be used: {'; '.join(problems)}. "
            "Start one, or let `make demo-docker` start a private dockerd"
        )

    @property
    def name(self) -> str:
        return self.program.rpartition("/")[2]

    def problem(self) -> str:
        """Why it does not answer; "" when it does."""
        try:
            done = self._try("ps", "-q", timeout_s=20.0)
        except ClusterError as error:
            return str(error)
        return "" if done.returncode == 0 else _last_line(done.stderr)

    def run(self, *arguments: str, stdin: bytes | None = None, timeout_s: float = TIMEOUT_S) -> str:
        """The command's standard output."""
        done = self._try(*arguments, stdin=stdin, timeout_s=timeout_s)
        if done.returncode != 0:
            what = f"{self.name} {' '.join(arguments[:2])}"
            raise ClusterError(f"{what}: {_last_line(done.stderr) or _last_line(done.stdout)}")
        return done.stdout.decode(errors="replace")

    def save(self, image: str) -> bytes:
        """An image as an archive."""
        done = self._try("save", image, timeout_s=300.0)
        if done.returncode != 0:
            raise ClusterError(f"{self.name} save {image}: {_last_line(done.stderr)}")
        return done.stdout

    def succeeds(self, *arguments: str) -> bool:
        return self._try(*arguments).returncode == 0

    def _try(
        self, *arguments: str, stdin: bytes | None = None, timeout_s: float = TIMEOUT_S
    ) -> subprocess.CompletedProcess[bytes]:
        try:
            return subprocess.run(
                (self.program, *arguments),
                input=stdin,
                stdin=subprocess.DEVNULL if stdin is None else None,
                capture_output=True,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            what = " ".join(arguments[:2])
            raise ClusterError(f"{self.name} {what}: no answer in {timeout_s:.0f} s") from None
        except OSError as error:
            raise ClusterError(f"{self.program}: {error.strerror}") from None

    def inspect(self, kind: str, name: str) -> dict[str, Any] | None:
        """`container`, `network` or `image`; None when there is none."""
        done = self._try(kind, "inspect", name)
        if done.returncode != 0:
            return None
        found = json.loads(done.stdout or b"[]")
        return found[0] if found else None

    def names(self, kind: str, labels: Sequence[str]) -> list[str]:
        """Names of the containers, networks or volumes that carry all the labels."""
        filters = [part for label in labels for part in ("--filter", f"label={label}")]
        if kind == "container":
            argv = ["ps", "-a", "--no-trunc", *filters, "--format", "{{.Names}}"]
        else:
            argv = [kind, "ls", *filters, "--format", "{{.Name}}"]
        return sorted(self.run(*argv).split())

    def subnets(self) -> list[str]:
        """Of all networks that the engine has."""
        found: list[str] = []
        for name in self.run("network", "ls", "--format", "{{.Name}}").split():
            network = self.inspect("network", name) or {}
            configs = (network.get("IPAM") or {}).get("Config") or network.get("subnets") or []
            found += [c.get("Subnet") or c.get("subnet") or "" for c in configs]
        return [subnet for subnet in found if subnet and ":" not in subnet]

    def limits(self) -> list[str]:
        """Flags for every container and every build: of files and processes as many as we have.

        podman asks for more, which it may not give itself without CAP_SYS_RESOURCE.
        """
        if self.name != "podman":
            return []
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        processes = min(resource.getrlimit(resource.RLIMIT_NPROC)[1], _PODMAN_PROCESSES)
        return [f"--ulimit=nofile={files}:{files}", f"--ulimit=nproc={processes}:{processes}"]

    def unconfined(self) -> list[str]:
        """Flags for a container that runs containers.

        All capabilities but CAP_SYS_RESOURCE, which engines that run in a container themselves do
        not have and then refuse `--privileged` altogether.
        """
        # What podman does not let a container use, that one cannot give to containers of its own.
        rules = ("c *:* rwm", "b *:* rwm") if self.name == "podman" else ()
        paths = "unmask=ALL" if self.name == "podman" else "systempaths=unconfined"
        return [
            *(f"--device-cgroup-rule={rule}" for rule in rules),
            "--cap-add=ALL",
            "--cap-drop=SYS_RESOURCE",
            "--security-opt=seccomp=unconfined",
            "--security-opt=apparmor=unconfined",
            f"--security-opt={paths}",
            "--cgroupns=private",
            "--tmpfs=/run",
        ]


def _last_line(output: bytes) -> str:
    """The last line that says something; engines end with an advice to read their help."""
    lines = [line.strip() for line in output.decode(errors="replace").splitlines()]
    said = [line for line in lines if line and not line.startswith(("Run '", "See '"))]
    return said[-1] if said else ""
