"""The scheduler's settings. Flags are upstream's; see `python -m scheduler --help`.

`--config` names a KubeSchedulerConfiguration; flags that are given win over what it says.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from podpath.component_base import config
from podpath.component_base.config import option
from podpath.component_base.durations import Duration
from podpath.component_base.tracing import TracingConfiguration, tracing_option
from scheduler import configuration, profiles
from scheduler.configuration import Configuration


@dataclass(frozen=True)
class Config:
    kubeconfig: str = option(help="how to reach the apiserver")
    leader_elect: bool = option(True, help="lead before scheduling, so that several may run")
    leader_elect_lease_duration_s: Duration = option(15.0, help="how long a lead lasts unrenewed")
    leader_elect_renew_deadline_s: Duration = option(10.0, help="when a leader gives up renewing")
    leader_elect_retry_period_s: Duration = option(2.0, help="time between tries to lead or renew")
    leader_elect_resource_namespace: str = option("kube-system", help="namespace of the Lease")
    leader_elect_resource_name: str = option("kube-scheduler", help="name of the Lease")
    scheduler_name: str = option(
        "default-scheduler", help="schedule the Pods whose spec.schedulerName this is"
    )
    percentage_of_nodes_to_score: int = option(
        0, help="stop looking after this share of feasible nodes; 0 adapts to the cluster's size"
    )
    pod_initial_backoff_seconds: float = option(1.0, help="first wait of a Pod that did not fit")
    pod_max_backoff_seconds: float = option(10.0, help="longest wait of a Pod that did not fit")
    seed: int = option(0, help="seed of the lots among equal nodes; 0 takes the system's entropy")
    tracing: TracingConfiguration = tracing_option()
    diagnostics_socket: str = option("", help="unix socket for /healthz, /metrics, /debug/podtrace")
    explain_socket: str = option("", help="unix socket (0600) that serves podpath.scheduler.v1")
    log_level: str = option("info", help="debug, info, warning or error")
    log_format: str = option("text", help="text or json")


def read_arguments(
    argv: Sequence[str], environ: Mapping[str, str] | None = None
) -> tuple[Config, Configuration]:
    """Prints usage and exits with 2 on what cannot be used."""
    found: list[Configuration] = []

    def read_file(tree: Mapping[str, Any], path: str) -> Mapping[str, Any]:
        found.append(configuration.read(tree, path))
        profiles.check(found[0])
        return found[0].settings

    settings = config.load(
        Config,
        argv,
        prog="scheduler",
        description="Assigns Pods to nodes: filters, scores, binds.",
        environ=environ,
        read_file=read_file,
    )
    if found:
        return settings, found[0]
    profile = configuration.Profile(settings.scheduler_name)
    return settings, Configuration((profile,))
