"""Which tracing a local cluster's processes are started with, from one `up` to the next."""

import json
import os
from pathlib import Path

import pytest
import yaml

from podpath.cli import components, up
from podpath.cli.layout import ClusterError, ClusterState, Layout, Node
from podpath.component_base.tracing import TracingConfiguration

HERE = TracingConfiguration("http://localhost:4318", 1000)
THERE = TracingConfiguration("http://there:4318", 1000)
OFF = TracingConfiguration("")


def quiet(_):
    pass


@pytest.fixture
def layout(tmp_path):
    made = Layout(tmp_path, "t")
    made.make_directories()
    return made


def planned(layout, tracing=None):
    """As `up` does it, without processes."""
    state = up.plan(layout, up.Options(runtime="fake", tracing=tracing), quiet)
    layout.save(state)
    up._write_tracing(layout, state)
    return state


@pytest.mark.parametrize(
    ("asked", "endpoint"),
    [
        pytest.param([None], "", id="by default off"),
        pytest.param([HERE], HERE.endpoint, id="on"),
        pytest.param([HERE, None], HERE.endpoint, id="stays on"),
        pytest.param([HERE, THERE], THERE.endpoint, id="changed"),
        pytest.param([HERE, OFF], "", id="switched off"),
    ],
)
def test_what_was_asked_last_holds(layout, asked, endpoint):
    for tracing in asked:
        state = planned(layout, tracing)
    assert state.tracing_endpoint == endpoint
    node = state.nodes[0]
    specs = [
        *components.control_plane(layout, state, "etcd"),
        *components.node(layout, state, node),
    ]
    flag = f"--tracing-config-file={layout.tracing}"
    traced = {spec.name for spec in specs if flag in spec.argv}
    assert traced == ({spec.name for spec in specs} - {"etcd"} if endpoint else set())


def test_the_file_is_kubernetes_own(layout):
    planned(layout, HERE)
    assert yaml.safe_load(layout.tracing.read_text()) == {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "TracingConfiguration",
        "endpoint": "http://localhost:4318",
        "samplingRatePerMillion": 1000,
    }


def test_a_running_cluster_is_not_traced_otherwise(layout):
    planned(layout, HERE)
    layout.pid("etcd").write_text(f"{os.getpid()} {_started()}\n")
    assert planned(layout, HERE) == planned(layout)
    with pytest.raises(ClusterError, match="podpath down --name t"):
        planned(layout, THERE)


def _started():
    return Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]


def test_a_cluster_from_before_is_not_traced(layout):
    state = ClusterState("t", "fake", {}, "10.1.0.0/16", "10.96.0.0/16", (Node("node-1", 1, 1),))
    layout.save(state)
    tree = json.loads(layout.state_file.read_text())
    old = {key: value for key, value in tree.items() if not key.startswith("tracing")}
    layout.state_file.write_text(json.dumps(old))
    assert planned(layout) == state
