"""KubeSchedulerConfiguration files: what they make of the profiles, and what is refused."""

import textwrap

import pytest

from podpath.component_base.config import ConfigError
from scheduler import configuration, profiles
from scheduler.config import read_arguments
from scheduler.framework.status import SUCCESS
from scheduler.plugins import registry
from tests.support.scheduling import Cluster, node, pod

HEAD = {"apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration"}


def build(**tree):
    read = configuration.read({**HEAD, **tree}, "f")
    return profiles.build(read, Cluster().handle)


def names(framework, point):
    return [getattr(p, "plugin", p).name for p in getattr(framework, point)]


DEFAULT_FILTERS = [
    "NodeUnschedulable",
    "NodeName",
    "TaintToleration",
    "NodeAffinity",
    "NodePorts",
    "NodeResourcesFit",
    "VolumeRestrictions",
    "NodeVolumeLimits",
    "VolumeBinding",
    "VolumeZone",
    "PodTopologySpread",
    "InterPodAffinity",
]


def test_an_empty_file_is_the_default_profile():
    (framework,) = build().values()
    assert names(framework, "filter_plugins") == DEFAULT_FILTERS
    weights = {e.plugin.name: e.weight for e in framework.score_plugins}
    assert weights == {
        "TaintToleration": 3,
        "NodeAffinity": 2,
        "NodeResourcesFit": 1,
        "VolumeBinding": 1,
        "PodTopologySpread": 2,
        "InterPodAffinity": 2,
        "NodeResourcesBalancedAllocation": 1,
        "ImageLocality": 1,
    }


@pytest.mark.parametrize(
    ("plugins", "filters", "weights"),
    [
        pytest.param(
            {
                "score": {
                    "disabled": [{"name": "*"}],
                    "enabled": [{"name": "ImageLocality", "weight": 7}],
                }
            },
            DEFAULT_FILTERS,
            {"ImageLocality": 7},
            id="only one score",
        ),
        pytest.param(
            {"filter": {"disabled": [{"name": "NodePorts"}]}},
            [n for n in DEFAULT_FILTERS if n != "NodePorts"],
            None,
            id="one filter off",
        ),
        pytest.param(
            {"multiPoint": {"disabled": [{"name": "NodeAffinity"}]}},
            [n for n in DEFAULT_FILTERS if n != "NodeAffinity"],
            None,
            id="a plugin off at all points",
        ),
        pytest.param(
            {"filter": {"enabled": [{"name": "InterPodAffinity"}, {"name": "NodeName"}]}},
            [
                "InterPodAffinity",
                "NodeName",
                *(n for n in DEFAULT_FILTERS if n not in ("InterPodAffinity", "NodeName")),
            ],
            None,
            id="named ones go first",
        ),
        pytest.param(
            {"multiPoint": {"enabled": [{"name": "NodeResourcesFit", "weight": 9}]}},
            DEFAULT_FILTERS,
            {"NodeResourcesFit": 9},
            id="a default changed in its place",
        ),
    ],
)
def test_plugins_enabled_and_disabled(plugins, filters, weights):
    (framework,) = build(profiles=[{"plugins": plugins}]).values()
    assert names(framework, "filter_plugins") == filters
    found = {e.plugin.name: e.weight for e in framework.score_plugins}
    if weights is not None:
        assert weights.items() <= found.items()
        if len(weights) == 1 and "ImageLocality" in weights:
            assert found == weights


def test_several_profiles_have_their_own_plugins_and_arguments():
    fit = {"name": "NodeResourcesFit", "args": {"scoringStrategy": {"type": "MostAllocated"}}}
    found = build(
        profiles=[{"schedulerName": "spread"}, {"schedulerName": "pack", "pluginConfig": [fit]}]
    )
    assert sorted(found) == ["pack", "spread"]
    scorers = {
        name: next(p.scorer for p in f.filter_plugins if p.name == "NodeResourcesFit")
        for name, f in found.items()
    }
    assert scorers["pack"] is not scorers["spread"]


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"kind": "Other"}, 'no kind "Other" is registered'),
        ({"unheardOf": 1}, 'unknown field "unheardOf"'),
        ({"percentageOfNodesToScore": 101}, r"not in valid range \[0-100\]"),
        ({"podInitialBackoffSeconds": 0}, "must be at least 1"),
        ({"podInitialBackoffSeconds": 5, "podMaxBackoffSeconds": 2}, "podMaxBackoffSeconds"),
        ({"leaderElection": {"leaseDuration": "soon"}}, 'invalid duration "soon"'),
        ({"profiles": [{"schedulerName": "a"}, {"schedulerName": "a"}]}, "Duplicate value"),
        (
            {"profiles": [{"plugins": {"filter": {"enabled": [{"name": "Nope"}]}}}]},
            '"Nope" does not exist',
        ),
        (
            {"profiles": [{"plugins": {"filter": {"enabled": [{"name": "ImageLocality"}]}}}]},
            "does not extend filter",
        ),
        (
            {"profiles": [{"plugins": {"bind": {"disabled": [{"name": "*"}]}}}]},
            "at least one bind plugin",
        ),
        (
            {"profiles": [{"plugins": {"queueSort": {"disabled": [{"name": "*"}]}}}]},
            "one queue sort plugin",
        ),
        (
            {
                "profiles": [
                    {
                        "pluginConfig": [
                            {"name": "InterPodAffinity", "args": {"hardPodAffinityWeight": -1}}
                        ]
                    }
                ]
            },
            "hardPodAffinityWeight",
        ),
        ({"extenders": [{"filterVerb": "f"}]}, "urlPrefix"),
        (
            {
                "extenders": [
                    {"urlPrefix": "http://x", "bindVerb": "b"},
                    {"urlPrefix": "http://y", "bindVerb": "b"},
                ]
            },
            "only one extender",
        ),
    ],
)
def test_what_is_refused(tree, message):
    with pytest.raises(ConfigError, match=message):
        build(**tree)


def test_a_file_sets_the_flags_and_flags_win(tmp_path):
    path = tmp_path / "scheduler.yaml"
    path.write_text(
        textwrap.dedent("""\
        apiVersion: kubescheduler.config.k8s.io/v1
        kind: KubeSchedulerConfiguration
        clientConnection: {kubeconfig: /from/file, qps: 50, burst: 100}
        leaderElection: {leaderElect: false, leaseDuration: 1m30s}
        percentageOfNodesToScore: 30
        podMaxBackoffSeconds: 20
        """)
    )
    settings, read = read_arguments([f"--config={path}", "--pod-max-backoff-seconds=40"], {})
    assert settings.kubeconfig == "/from/file"
    assert not settings.leader_elect
    assert settings.leader_elect_lease_duration_s == 90
    assert settings.percentage_of_nodes_to_score == 30
    assert settings.pod_max_backoff_seconds == 40
    assert [p.scheduler_name for p in read.profiles] == ["default-scheduler"]


def test_a_bad_file_ends_with_usage_and_no_traceback(tmp_path, capsys):
    path = tmp_path / "scheduler.yaml"
    path.write_text("apiVersion: v1\nkind: Pod\n")
    with pytest.raises(SystemExit) as ended:
        read_arguments([f"--config={path}"], {})
    assert ended.value.code == 2
    assert 'no kind "Pod" is registered' in capsys.readouterr().err


class EvenNodes:
    """A third party's plugin."""

    name = "EvenNodes"

    def __init__(self, _handle, args):
        self._wanted = args.get("ending", "0")

    def filter(self, _state, _pod, a_node):
        return SUCCESS if a_node.name.endswith(self._wanted) else registry_rejection()


def registry_rejection():
    from scheduler.framework.status import unschedulable

    return unschedulable("EvenNodes", "node(s) were odd")


def test_third_parties_add_plugins_as_entry_points(monkeypatch):
    class Entry:
        name = "EvenNodes"

        def load(self):
            return EvenNodes

    def entry_points(group):
        assert group == "podpath.scheduler_plugins"
        return [Entry()]

    monkeypatch.setattr(registry, "entry_points", entry_points)
    cluster = Cluster([node("n0"), node("n1")])
    plugins = {"multiPoint": {"enabled": [{"name": "EvenNodes"}]}}
    arguments = [{"name": "EvenNodes", "args": {"ending": "1"}}]
    read = configuration.read(
        {**HEAD, "profiles": [{"plugins": plugins, "pluginConfig": arguments}]}, "f"
    )
    (framework,) = profiles.build(read, cluster.handle).values()
    cluster.framework = framework
    assert cluster.decide(pod()).node_name == "n1"
    assert cluster.rejections(pod()) == {"n0": ["node(s) were odd"]}
