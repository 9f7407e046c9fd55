"""`python -m controllers --kubeconfig FILE`."""

import random
import sys

from controllers.config import Config
from controllers.manager import Manager
from podpath.client import kubeconfig
from podpath.client.grpc import GrpcClient
from podpath.component_base import config, logs, shutdown
from podpath.component_base.clock import SystemClock
from podpath.component_base.tracing import exported


def main() -> int:
    """The exit status; failures are logged in one line."""
    settings = config.load(
        Config,
        sys.argv[1:],
        prog="controllers",
        description="podpath's controller manager: brings what is stored to what is wanted.",
    )
    logs.setup(settings.log_level, settings.log_format)

    async def run() -> None:
        cluster = kubeconfig.load(settings.kubeconfig)
        async with GrpcClient(cluster, field_manager="kube-controller-manager") as client:
            manager = Manager(settings, client, clock=SystemClock(), rng=random.Random())
            await manager.run()

    with exported(settings.tracing, "controllers"):
        return shutdown.run(run)


if __name__ == "__main__":
    sys.exit(main())
