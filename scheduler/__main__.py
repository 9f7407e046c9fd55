"""`python -m scheduler`: the scheduler's process."""

import asyncio
import logging
import random
import socket
import sys

from podpath.client import kubeconfig
from podpath.client.event_recorder import EventRecorder
from podpath.client.grpc import GrpcClient
from podpath.client.leader_election import LeaderElector, LeaseLock, LostLeadershipError
from podpath.component_base import logs, shutdown
from podpath.component_base.clock import Clock, SystemClock
from podpath.component_base.serving import diagnostics
from podpath.component_base.tracing import exported
from scheduler import explain_server, profiles
from scheduler.config import Config, read_arguments
from scheduler.configuration import Configuration
from scheduler.explain_server import Explainer
from scheduler.extender import HttpExtender
from scheduler.framework.runtime import Framework
from scheduler.schedule_one import SchedulingAlgorithm
from scheduler.scheduler import Scheduler
from scheduler.vectorised.algorithm import VectorisedAlgorithm

log = logging.getLogger(__name__)


async def run(settings: Config, configuration: Configuration) -> None:
    """Until cancelled. Whoever loses the lead begins anew, as another process would: whatever it
    believed may be stale."""
    while True:
        try:
            await serve(settings, configuration)
        except* LostLeadershipError:
            log.error("the lead is lost: beginning anew")


async def serve(settings: Config, configuration: Configuration) -> None:
    """Watches at once, schedules while it leads. Raises: LostLeadershipError."""
    clock = SystemClock()
    rng = random.Random(settings.seed or None)
    async with GrpcClient(kubeconfig.load(settings.kubeconfig)) as client:
        recorder = EventRecorder(client, settings.scheduler_name, clock=clock)
        shares = {
            profile.scheduler_name: profile.percentage_of_nodes_to_score
            for profile in configuration.profiles
        }

        def percentage(framework: Framework) -> int:
            own = shares.get(framework.profile)
            return settings.percentage_of_nodes_to_score if own is None else own

        extenders = [HttpExtender(extender) for extender in configuration.extenders]
        scheduler = Scheduler(
            client,
            lambda handle: profiles.build(configuration, handle, extenders),
            settings,
            clock=clock,
            rng=rng,
            recorder=recorder,
            algorithms=lambda framework, cache, listers: VectorisedAlgorithm(
                framework,
                cache,
                listers,
                SchedulingAlgorithm(rng, percentage(framework), extenders),
            ),
        )
        explainer = Explainer(scheduler.decisions, scheduler.frameworks, scheduler.cache, clock)
        elector = _elector(settings, client, clock, rng) if settings.leader_elect else None

        def is_ready() -> bool:
            """Also while another leads: that it can take over is enough."""
            return scheduler.has_synced and (elector is None or bool(elector.leader))

        async with (
            diagnostics(settings.diagnostics_socket, ready=is_ready),
            explain_server.serve(explainer, settings.explain_socket),
            asyncio.TaskGroup() as tasks,
        ):
            tasks.create_task(recorder.run(), name="events")
            tasks.create_task(scheduler.watch(), name="informers")
            await (scheduler.lead() if elector is None else elector.run(scheduler.lead))


def _elector(
    settings: Config, client: GrpcClient, clock: Clock, rng: random.Random
) -> LeaderElector:
    lock = LeaseLock(
        settings.leader_elect_resource_namespace,
        settings.leader_elect_resource_name,
        f"{socket.gethostname()}_{rng.getrandbits(64):016x}",
        settings.leader_elect_lease_duration_s,
        settings.leader_elect_renew_deadline_s,
        settings.leader_elect_retry_period_s,
    )
    return LeaderElector(client, lock, clock=clock, rng=rng)


def main() -> int:
    settings, configuration = read_arguments(sys.argv[1:])
    logs.setup(settings.log_level, settings.log_format)
    with exported(settings.tracing, "scheduler"):
        return shutdown.run(lambda: run(settings, configuration))


if __name__ == "__main__":
    sys.exit(main())
