"""KubeSchedulerConfiguration files: what they make of the profiles, and what is refused."""

import re
import textwrap

import pytest

from podpath.component_base.config import ConfigError
from scheduler import configuration, profiles
from scheduler.config import read_arguments
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


def profile(**fields):
    return {"profiles": [fields]}


def arguments(plugin, **args):
    return profile(pluginConfig=[{"name": plugin, "args": args}])


def plugins_at(point, *enabled, **more):
    return profile(plugins={point: {"enabled": list(enabled), **more}})


ARGS = "profiles[0].pluginConfig[0].args"


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"kind": "Other"}, 'no kind "Other" is registered for version "kubescheduler'),
        pytest.param(
            {"unheardOf": 1, **profile(plugins={"filter": {"enable": []}, "sort": {}})},
            'strict decoding error: unknown field "unheardOf", '
            'unknown field "profiles[0].plugins.filter.enable", '
            'unknown field "profiles[0].plugins.sort"',
            id="all unknown fields",
        ),
        pytest.param(
            arguments("NodeResourcesFit", scoringStrategy={"resources": [{"Name": "cpu"}]}),
            "strict decoding error: decoding .profiles[0].pluginConfig[0]: decoding args for "
            "plugin NodeResourcesFit: strict decoding error: unknown field "
            '"scoringStrategy.resources[0].Name"',
            id="unknown arguments",
        ),
        pytest.param(
            arguments("InterPodAffinity", kind="NodeAffinityArgs"),
            "args for plugin InterPodAffinity were not of type InterPodAffinityArgs, got "
            "NodeAffinityArgs",
            id="arguments of another plugin",
        ),
        pytest.param(
            {"podMaxBackoffSeconds": "20"},
            "json: cannot unmarshal string into Go struct field "
            "KubeSchedulerConfiguration.podMaxBackoffSeconds of type int64",
            id="a text for a number",
        ),
        pytest.param(
            {"parallelism": 3_000_000_000},
            "json: cannot unmarshal number 3000000000 into Go struct field "
            "KubeSchedulerConfiguration.parallelism of type int32",
            id="too large",
        ),
        (
            {"percentageOfNodesToScore": 101},
            "percentageOfNodesToScore: Invalid value: 101: not in valid range [0-100]",
        ),
        (
            profile(percentageOfNodesToScore=-1),
            "profiles[0].percentageOfNodesToScore: Invalid value: -1: not in valid range [0-100]",
        ),
        (
            {"podInitialBackoffSeconds": 0},
            "podInitialBackoffSeconds: Invalid value: 0: must be greater than 0",
        ),
        (
            {"podInitialBackoffSeconds": 11},
            "podMaxBackoffSeconds: Invalid value: 10: must be greater than or equal to "
            "PodInitialBackoffSeconds",
        ),
        (
            {"parallelism": 0},
            "parallelism: Invalid value: 0: should be an integer value greater than zero",
        ),
        (
            {"clientConnection": {"burst": -1}},
            "clientConnection.burst: Invalid value: -1: must be non-negative",
        ),
        ({"leaderElection": {"leaseDuration": "soon"}}, 'time: invalid duration "soon"'),
        (
            {"leaderElection": {"leaseDuration": "5s"}},
            'leaderElection.leaseDuration: Invalid value: "10s": LeaseDuration must be greater '
            "than RenewDeadline",
        ),
        (
            {"leaderElection": {"resourceLock": "configmaps"}},
            'leaderElection.resourceLock: Invalid value: "configmaps": resourceLock value must be '
            '"leases"',
        ),
        pytest.param(
            {"profiles": [{"schedulerName": "a"}, {"schedulerName": "a"}]},
            "profiles[1].schedulerName: Duplicate value: profiles[0].schedulerName",
            id="two profiles of one name",
        ),
        pytest.param(
            {"profiles": [{"schedulerName": "a"}, {}]},
            "profiles[1].schedulerName: Required value",
            id="a name is the default of a lone profile",
        ),
        pytest.param(
            {
                "profiles": [
                    {"schedulerName": "a"},
                    {
                        "schedulerName": "b",
                        "plugins": {"queueSort": {"enabled": [{"name": "PrioritySort"}]}},
                    },
                ]
            },
            "queueSort must be the same for all profiles",
            id="two orders for one queue",
        ),
        pytest.param(
            {"percentageOfNodesToScore": 200, "podInitialBackoffSeconds": -1},
            "[percentageOfNodesToScore: Invalid value: 200: not in valid range [0-100], "
            "podInitialBackoffSeconds: Invalid value: -1: must be greater than 0]",
            id="all that is wrong at once",
        ),
        pytest.param(
            plugins_at("score", {"name": "ImageLocality", "weight": -2}),
            "profiles[0].plugins.score.enabled[0].weight: Invalid value: -2: must be non-negative",
            id="a negative weight",
        ),
        pytest.param(
            plugins_at("filter", {"name": "EBSLimits"}),
            'profiles[0].plugins.filter.enabled[0]: Invalid value: "EBSLimits": was invalid in',
            id="a plugin of the past",
        ),
        pytest.param(
            profile(pluginConfig=[{"name": "A"}, {"name": "A"}]),
            'profiles[0].pluginConfig[1]: Duplicate value: "A"',
            id="arguments twice",
        ),
        pytest.param(
            plugins_at("filter", {"name": "Nope"}),
            "initializing profiles: creating profile for scheduler name default-scheduler: "
            'FilterPlugin "Nope" does not exist',
            id="no such plugin",
        ),
        pytest.param(
            plugins_at("filter", {"name": "ImageLocality"}),
            'plugin "ImageLocality" does not extend FilterPlugin plugin',
            id="a plugin where it does not belong",
        ),
        pytest.param(
            plugins_at("score", {"name": "ImageLocality"}, {"name": "ImageLocality"}),
            'plugin "ImageLocality" already registered as "ScorePlugin"',
            id="a plugin twice",
        ),
        pytest.param(
            plugins_at("bind", disabled=[{"name": "*"}]),
            "at least one bind plugin is needed for profile with scheduler name "
            '"default-scheduler"',
            id="nobody binds",
        ),
        pytest.param(
            plugins_at("queueSort", disabled=[{"name": "*"}]),
            "only one queue sort plugin required for profile with scheduler name "
            '"default-scheduler", but got 0',
            id="nobody sorts",
        ),
        (
            arguments("InterPodAffinity", hardPodAffinityWeight=-1),
            f"{ARGS}.hardPodAffinityWeight: Invalid value: -1: not in valid range [0, 100]",
        ),
        (
            arguments("DefaultPreemption", minCandidateNodesPercentage=101),
            f"{ARGS}.minCandidateNodesPercentage: Invalid value: 101: not in valid range [0, 100]",
        ),
        pytest.param(
            arguments(
                "DefaultPreemption", minCandidateNodesPercentage=0, minCandidateNodesAbsolute=0
            ),
            f"[{ARGS}.minCandidateNodesPercentage: Invalid value: 0: cannot be zero at the same "
            f"time as minCandidateNodesAbsolute, {ARGS}.minCandidateNodesAbsolute: ",
            id="no candidates at all",
        ),
        (
            arguments("NodeResourcesFit", scoringStrategy={"type": "Best"}),
            f'{ARGS}.scoringStrategy.type: Unsupported value: "Best": supported values: '
            '"LeastAllocated", "MostAllocated", "RequestedToCapacityRatio"',
        ),
        (
            arguments(
                "NodeResourcesFit",
                scoringStrategy={
                    "type": "LeastAllocated",
                    "resources": [{"name": "cpu", "weight": 101}],
                },
            ),
            f"{ARGS}.scoringStrategy.resources[0].weight: Invalid value: 101: resource weight of "
            "cpu not in valid range (0, 100]",
        ),
        (
            arguments(
                "NodeResourcesFit",
                scoringStrategy={
                    "type": "RequestedToCapacityRatio",
                    "requestedToCapacityRatio": {
                        "shape": [{"utilization": 50}, {"utilization": 50, "score": 11}]
                    },
                },
            ),
            f"[{ARGS}.scoringStrategy.shape[1].utilization: Invalid value: 50: utilization values "
            f"must be sorted in increasing order, {ARGS}.scoringStrategy.shape[1].score: "
            "Invalid value: 11: not in valid range [0, 10]]",
        ),
        (
            arguments("NodeResourcesFit", ignoredResourceGroups=["a/b"]),
            f'{ARGS}.ignoredResourceGroups[0]: Invalid value: "a/b": resource group name can\'t '
            "contain '/'",
        ),
        (
            arguments("NodeResourcesBalancedAllocation", resources=[{"name": "a", "weight": 2}]),
            f"{ARGS}.resources[0].weight: Invalid value: 2: must be 1",
        ),
        (
            arguments("PodTopologySpread", defaultConstraints=[{"maxSkew": 1}]),
            f'[{ARGS}.defaultingType: Invalid value: "System": when .defaultConstraints are not '
            f"empty, {ARGS}.defaultConstraints[0].topologyKey: Required value: can not be empty, "
            f"{ARGS}.defaultConstraints[0].whenUnsatisfiable: Required value: can not be empty]",
        ),
        (
            arguments("VolumeBinding", bindTimeoutSeconds=-1),
            f"{ARGS}.bindTimeoutSeconds: Invalid value: -1: invalid BindTimeoutSeconds, should not "
            "be a negative value",
        ),
        (
            {"extenders": [{"urlPrefix": "http://x", "prioritizeVerb": "p"}]},
            "extenders[0].weight: Invalid value: 0: must have a positive weight applied to it",
        ),
        (
            {"extenders": [{"managedResources": [{"name": "cpu"}]}]},
            'extenders[0].managedResources[0].name: Invalid value: "cpu": is an invalid extended '
            "resource name",
        ),
        pytest.param(
            {"extenders": [{"bindVerb": "b"}, {"bindVerb": "b"}]},
            'extenders: Invalid value: "found 2 extenders implementing bind": only one extender '
            "can implement bind",
            id="two that bind",
        ),
    ],
)
def test_what_is_refused(tree, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        build(**tree)


def test_plugins_that_are_switched_off_and_on_again_go_last():
    tree = plugins_at(
        "filter", {"name": "NodeName"}, {"name": "NodePorts"}, disabled=[{"name": "NodeName"}]
    )
    (framework,) = build(**tree).values()
    found = names(framework, "filter_plugins")
    assert (found[0], found[-1]) == ("NodePorts", "NodeName")
    assert sorted(found) == sorted(DEFAULT_FILTERS)


def test_arguments_of_plugins_that_are_not_there_harm_nobody():
    assert list(build(**arguments("NotInstalled", anything=1))) == ["default-scheduler"]


def test_what_extenders_manage_is_not_counted_by_us():
    read = configuration.read(
        {
            **HEAD,
            "extenders": [
                {"urlPrefix": "http://lax", "ignorable": True},
                {
                    "urlPrefix": "http://strict",
                    "managedResources": [
                        {"name": "example.com/gpu", "ignoredByScheduler": True},
                        {"name": "example.com/fpga"},
                    ],
                },
            ],
        },
        "f",
    )
    assert [e.url_prefix for e in read.extenders] == ["http://strict", "http://lax"]
    (only,) = read.profiles
    assert only.plugin_args["NodeResourcesFit"] == {"ignoredResources": ["example.com/gpu"]}


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


EVEN_NODES = """
from scheduler.framework.status import SUCCESS, unschedulable


class EvenNodes:
    name = "EvenNodes"

    def __init__(self, handle, args):
        self._wanted = args.get("ending", "0")

    def filter(self, state, pod, node):
        if node.name.endswith(self._wanted):
            return SUCCESS
        return unschedulable(self.name, "node(s) were odd")
"""


def test_an_installed_distribution_adds_a_plugin(tmp_path, monkeypatch):
    """As pip leaves it: a module, and metadata with the entry point. Nothing of ours names it."""
    (tmp_path / "even_nodes.py").write_text(EVEN_NODES)
    metadata = tmp_path / "even_nodes-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: even-nodes\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[podpath.scheduler_plugins]\nEvenNodes = even_nodes:EvenNodes\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    cluster = Cluster([node("n0"), node("n1")])
    enabled = {"multiPoint": {"enabled": [{"name": "EvenNodes"}]}}
    args = [{"name": "EvenNodes", "args": {"ending": "1"}}]
    read = configuration.read({**HEAD, **profile(plugins=enabled, pluginConfig=args)}, "f")
    (framework,) = profiles.build(read, cluster.handle).values()
    cluster.framework = framework
    assert cluster.decide(pod()).node_name == "n1"
    assert cluster.rejections(pod()) == {"n0": ["node(s) were odd"]}
