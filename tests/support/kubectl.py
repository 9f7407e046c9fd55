"""The unmodified kubectl against a real API server."""

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from podpath.component_base import binaries
from tests.support.apiserver import ApiServer, running_apiserver, scratch_directory

COMMAND_TIMEOUT_S = 30.0
TOKENS = 'jane-token,jane,1,"dev"\n'


@dataclass(frozen=True)
class Result:
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Kubectl:
    """Runs commands with a kubeconfig and a cache directory of their own."""

    def __init__(self, server: ApiServer, directory: Path) -> None:
        self.server = server
        self.directory = directory
        self._program = binaries.find("kubectl")
        self.kubeconfig = directory / "kubeconfig"
        admin = server.pki.user("admin")
        self._write_kubeconfig(
            {"client-certificate": str(admin.certificate), "client-key": str(admin.key)}
        )

    def _write_kubeconfig(self, user: dict[str, str]) -> None:
        url = f"https://127.0.0.1:{self.server.https_port}"
        ca = str(self.server.pki.ca.certificate)
        cluster = {"server": url, "certificate-authority": ca}
        tree = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": user}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        self.kubeconfig.write_text(json.dumps(tree))

    def arguments(self, *words: str) -> list[str]:
        return [self._program, "--kubeconfig", str(self.kubeconfig), *words]

    @property
    def environment(self) -> dict[str, str]:
        """HOME holds the discovery cache: each test begins without one."""
        return {**os.environ, "HOME": str(self.directory)}

    async def run(self, *words: str, stdin: str = "") -> Result:
        process = await asyncio.create_subprocess_exec(
            *self.arguments(*words),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environment,
        )
        try:
            async with asyncio.timeout(COMMAND_TIMEOUT_S):
                out, err = await process.communicate(stdin.encode())
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return Result(process.returncode or 0, out.decode(), err.decode())

    async def __call__(self, *words: str, stdin: str = "") -> Result:
        """Raises: AssertionError when the command fails."""
        result = await self.run(*words, stdin=stdin)
        command = " ".join(words)
        assert result.code == 0, f"kubectl {command}: {result.err}\n{self.server.log[-2000:]}"
        return result

    async def apply(self, manifest: str, *words: str) -> Result:
        return await self("apply", "-f", "-", *words, stdin=manifest)


@asynccontextmanager
async def running_kubectl() -> AsyncIterator[Kubectl]:
    """With an API server and an etcd of its own."""
    with scratch_directory() as directory:
        tokens = directory / "tokens.csv"
        tokens.write_text(TOKENS)
        async with running_apiserver(f"--token-auth-file={tokens}") as server:
            kubectl = Kubectl(server, directory)
            await kubectl("create", "serviceaccount", "default")
            yield kubectl
