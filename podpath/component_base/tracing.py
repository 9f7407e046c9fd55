"""Whether and where a process sends spans of the Pods' creations it takes part in.

`TracingConfiguration` is Kubernetes' own: kube-apiserver reads it with `--tracing-config-file`,
the kubelet has it as `tracing` in its configuration; here every process understands both. One
difference: OTLP goes over HTTP, not gRPC.

Source: k8s.io/component-base tracing/api/v1 (types.go, config.go), tracing/utils.go.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from podpath.component_base.config import ConfigError, option
from podpath.component_base.pod_trace import PodStep

MILLION = 1_000_000
_TRACES_PATH = "/v1/traces"


@dataclass(frozen=True, slots=True)
class TracingConfiguration:
    """The file's content."""

    endpoint: str = option(
        "http://localhost:4318", help="OTLP/HTTP receiver: a URL, or HOST:PORT for http; empty: off"
    )
    sampling_rate_per_million: int = option(
        0, help="how many creations without a parent are sampled; those with a sampled one all are"
    )

    def __post_init__(self) -> None:
        if self.endpoint and urlsplit(self.url).scheme not in ("http", "https"):
            raise ConfigError(f"tracing endpoint {self.endpoint!r}: expected http(s)://HOST:PORT")
        if not 0 <= self.sampling_rate_per_million <= MILLION:
            raise ConfigError(
                f"samplingRatePerMillion {self.sampling_rate_per_million}: expected 0 to {MILLION}"
            )

    @property
    def url(self) -> str:
        """Where spans are posted; a receiver's root stands for OTLP's usual path."""
        url = self.endpoint if "://" in self.endpoint else f"http://{self.endpoint}"
        return url if urlsplit(url).path.strip("/") else url.rstrip("/") + _TRACES_PATH


TRACING_OFF = TracingConfiguration(endpoint="")


def tracing_option() -> Any:
    """The field `tracing` of a process' Config."""
    return option(
        TRACING_OFF,
        flag="tracing-config-file",
        help="file with endpoint and samplingRatePerMillion: send traces of Pods' creations there",
    )


@contextmanager
def exported(
    tracing: TracingConfiguration,
    service: str,
    host: str = "",
    *,
    creation_ends_with: PodStep = PodStep.STATUS_RUNNING,
) -> Iterator[None]:
    """Sends what this process stamps of sampled Pods, as spans of `service`, while the block runs.

    All of it happens in a thread beside the block. `host` is the node's or machine's name. The
    span of a whole creation, which only an API server has, lasts to the step named.
    """
    if not tracing.endpoint:
        yield
        return
    # Who sends no traces does not pay for the libraries (0.1 s and 20 MB).
    from podpath.component_base import span_exporter

    with span_exporter.running(tracing.url, service, host, creation_ends_with):
        yield
