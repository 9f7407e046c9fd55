import sys

import pytest

from podpath.component_base import pod_trace
from podpath.component_base.config import ConfigError, load
from podpath.component_base.tracing import TRACING_OFF, TracingConfiguration, exported
from scheduler.config import Config

KUBERNETES = """
apiVersion: apiserver.config.k8s.io/v1
kind: TracingConfiguration
endpoint: collector:4318
samplingRatePerMillion: 100
"""


def read(*argv: str) -> Config:
    return load(Config, ["--kubeconfig=k", *argv], prog="scheduler", description="", environ={})


def test_kubernetes_file_is_understood(tmp_path):
    file = tmp_path / "tracing.yaml"
    file.write_text(KUBERNETES)
    tracing = read(f"--tracing-config-file={file}").tracing
    assert tracing == TracingConfiguration("collector:4318", 100)
    assert read().tracing == TRACING_OFF


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("localhost:4318", "http://localhost:4318/v1/traces"),
        ("http://localhost:4318/", "http://localhost:4318/v1/traces"),
        ("https://traces.example/otlp/v1/traces", "https://traces.example/otlp/v1/traces"),
    ],
)
def test_where_spans_are_posted(endpoint, url):
    assert TracingConfiguration(endpoint).url == url


@pytest.mark.parametrize(
    ("values", "said"),
    [
        pytest.param({"endpoint": "grpc://a:1"}, "expected http", id="another protocol"),
        pytest.param({"sampling_rate_per_million": -1}, "expected 0 to 1000000", id="negative"),
        pytest.param({"sampling_rate_per_million": 10**6 + 1}, "expected 0 to", id="too many"),
    ],
)
def test_what_makes_no_sense_is_refused(values, said):
    with pytest.raises(ConfigError, match=said):
        TracingConfiguration(**values)


def test_who_sends_nothing_hears_of_no_stamps_and_loads_nothing(monkeypatch):
    monkeypatch.delitem(sys.modules, "podpath.component_base.span_exporter", raising=False)
    with exported(TRACING_OFF, "scheduler"):
        assert pod_trace.ring.on_sampled is None
    assert "podpath.component_base.span_exporter" not in sys.modules
