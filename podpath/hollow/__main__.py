"""`python -m podpath.hollow --kubeconfig FILE --nodes 100`."""

import asyncio
import random
import sys

from podpath.client import kubeconfig
from podpath.client.grpc import GrpcClient
from podpath.component_base import config, logs, shutdown
from podpath.component_base.clock import SystemClock
from podpath.component_base.serving import diagnostics
from podpath.component_base.tracing import exported
from podpath.hollow.config import Config
from podpath.hollow.nodes import HollowNodes


async def run(settings: Config) -> None:
    """Simulates the nodes until cancelled; their Pods are forgotten then."""
    cluster = kubeconfig.load(settings.kubeconfig)
    async with GrpcClient(cluster, field_manager="kubelet") as client:
        nodes = HollowNodes(settings, client, SystemClock(), random.Random())
        async with (
            nodes.started(),
            diagnostics(settings.diagnostics_socket, ready=lambda: nodes.ready),
            asyncio.TaskGroup() as tasks,
        ):
            tasks.create_task(nodes.run(), name="nodes")


def main() -> int:
    """The exit status; failures are logged in one line."""
    settings = config.load(
        Config,
        sys.argv[1:],
        prog="podpath-hollow",
        description="Simulates many nodes in one process: real kubelet code, fake runtime.",
    )
    logs.setup(settings.log_level, settings.log_format)
    with exported(settings.tracing, "kubelet"):
        return shutdown.run(lambda: run(settings))


if __name__ == "__main__":
    sys.exit(main())
