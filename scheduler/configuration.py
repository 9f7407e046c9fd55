"""KubeSchedulerConfiguration files (kubescheduler.config.k8s.io/v1), checked and completed.

Source: pkg/scheduler/apis/config/v1/{defaults,default_plugins}.go, apis/config/validation,
pkg/scheduler/framework/runtime/framework.go (expandMultiPointPlugins).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from podpath.component_base.config import ConfigError, parse_duration
from scheduler.extender import ExtenderConfig, ExtenderConfigError
from scheduler.framework.runtime import POINTS
from scheduler.plugins.registry import DEFAULT_ORDER, DEFAULT_WEIGHTS

API_VERSION = "kubescheduler.config.k8s.io/v1"
KIND = "KubeSchedulerConfiguration"
DEFAULT_SCHEDULER = "default-scheduler"

_TOP = {
    "apiVersion",
    "kind",
    "parallelism",
    "leaderElection",
    "clientConnection",
    "healthzBindAddress",
    "metricsBindAddress",
    "enableProfiling",
    "enableContentionProfiling",
    "percentageOfNodesToScore",
    "podInitialBackoffSeconds",
    "podMaxBackoffSeconds",
    "profiles",
    "extenders",
    "delayCacheUntilActive",
}
_PROFILE = {"schedulerName", "percentageOfNodesToScore", "plugins", "pluginConfig"}
_PLUGIN_SET = {"enabled", "disabled"}


@dataclass(frozen=True, slots=True)
class PluginSet:
    """What a profile says of one extension point (or of all, `multiPoint`)."""

    enabled: tuple[tuple[str, int], ...] = ()  # name, weight (0: not given)
    disabled: frozenset[str] = frozenset()


_DEFAULT_MULTI_POINT = PluginSet(
    tuple((name, DEFAULT_WEIGHTS.get(name, 0)) for name in DEFAULT_ORDER)
)


@dataclass(frozen=True, slots=True)
class Profile:
    """A scheduler by name: its plugins and their arguments, defaults merged in."""

    scheduler_name: str = DEFAULT_SCHEDULER
    multi_point: PluginSet = _DEFAULT_MULTI_POINT
    points: Mapping[str, PluginSet] = field(default_factory=dict)
    plugin_args: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    percentage_of_nodes_to_score: int | None = None

    def names(self) -> list[str]:
        """All plugins that any point uses, in the order of their mention."""
        found = dict.fromkeys(name for name, _ in self.multi_point.enabled)
        for plugins in self.points.values():
            found.update(dict.fromkeys(name for name, _ in plugins.enabled))
        return list(found)


@dataclass(frozen=True, slots=True)
class Configuration:
    """The whole file. `settings` are those that are flags too, by field name of Config."""

    profiles: tuple[Profile, ...] = (Profile(),)
    extenders: tuple[ExtenderConfig, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)


def read(tree: Mapping[str, Any], path: str) -> Configuration:
    """Raises: ConfigError, which names the file, the field and what is wrong with it."""
    version, kind = tree.get("apiVersion"), tree.get("kind")
    if (version, kind) != (API_VERSION, KIND):
        raise ConfigError(f'{path}: no kind "{kind}" is registered for version "{version}"')
    where = f"{path}: "
    _known(tree, _TOP, where)
    profiles = tuple(
        _profile(profile, f"{where}profiles[{i}]")
        for i, profile in enumerate(tree.get("profiles") or [{}])
    )
    _check_profiles(profiles, where)
    try:
        extenders = tuple(ExtenderConfig.read(item) for item in tree.get("extenders") or ())
    except ExtenderConfigError as error:
        raise ConfigError(f"{where}extenders: {error}") from error
    if sum(bool(extender.bind_verb) for extender in extenders) > 1:
        raise ConfigError(f"{where}extenders: Invalid value: only one extender can implement bind")
    return Configuration(profiles, extenders, _settings(tree, where))


def _settings(tree: Mapping[str, Any], where: str) -> dict[str, Any]:
    election = tree.get("leaderElection") or {}
    found: dict[str, Any] = {}
    for key, name in (
        ("leaseDuration", "leader_elect_lease_duration_s"),
        ("renewDeadline", "leader_elect_renew_deadline_s"),
        ("retryPeriod", "leader_elect_retry_period_s"),
    ):
        if key in election:
            found[name] = parse_duration(election[key], f"{where}leaderElection.{key}")
    if "leaderElect" in election:
        found["leader_elect"] = bool(election["leaderElect"])
    kubeconfig = (tree.get("clientConnection") or {}).get("kubeconfig")
    if kubeconfig:
        found["kubeconfig"] = str(kubeconfig)
    for key, name, lowest in (
        ("percentageOfNodesToScore", "percentage_of_nodes_to_score", 0),
        ("podInitialBackoffSeconds", "pod_initial_backoff_seconds", 1),
        ("podMaxBackoffSeconds", "pod_max_backoff_seconds", 1),
    ):
        if tree.get(key) is not None:
            found[name] = _number(tree[key], f"{where}{key}", lowest)
    if found.get("percentage_of_nodes_to_score", 0) > 100:
        raise ConfigError(
            f"{where}percentageOfNodesToScore: Invalid value: "
            f"{found['percentage_of_nodes_to_score']}: not in valid range [0-100]"
        )
    first, most = found.get("pod_initial_backoff_seconds", 1), found.get("pod_max_backoff_seconds")
    if most is not None and most < first:
        raise ConfigError(
            f"{where}podMaxBackoffSeconds: Invalid value: {most}: must be greater than or equal to "
            "PodInitialBackoffSeconds"
        )
    return found


def _profile(tree: Mapping[str, Any], where: str) -> Profile:
    _known(tree, _PROFILE, f"{where}.")
    plugins = tree.get("plugins") or {}
    _known(plugins, {*POINTS, "multiPoint"}, f"{where}.plugins.")
    points = {
        point: _plugin_set(plugins[point], f"{where}.plugins.{point}")
        for point in POINTS
        if plugins.get(point)
    }
    multi_point = _merged(
        _DEFAULT_MULTI_POINT,
        _plugin_set(plugins.get("multiPoint") or {}, f"{where}.plugins.multiPoint"),
    )
    arguments: dict[str, Mapping[str, Any]] = {}
    for i, item in enumerate(tree.get("pluginConfig") or ()):
        name = item.get("name", "")
        if name in arguments:
            raise ConfigError(f"{where}.pluginConfig[{i}]: Duplicate value: {name!r}")
        arguments[name] = item.get("args") or {}
    percentage = tree.get("percentageOfNodesToScore")
    return Profile(
        tree.get("schedulerName") or DEFAULT_SCHEDULER,
        multi_point,
        points,
        arguments,
        None if percentage is None else _number(percentage, f"{where}.percentageOfNodesToScore", 0),
    )


def _plugin_set(tree: Mapping[str, Any], where: str) -> PluginSet:
    _known(tree, _PLUGIN_SET, f"{where}.")
    enabled: list[tuple[str, int]] = []
    for i, item in enumerate(tree.get("enabled") or ()):
        name = item.get("name")
        if not name:
            raise ConfigError(f"{where}.enabled[{i}].name: Required value")
        if any(name == other for other, _ in enabled):
            raise ConfigError(f"{where}.enabled[{i}]: Duplicate value: {name!r}")
        weight = _number(item.get("weight") or 0, f"{where}.enabled[{i}].weight", 0)
        enabled.append((name, weight))
    disabled = frozenset(item.get("name", "") for item in tree.get("disabled") or ())
    return PluginSet(tuple(enabled), disabled)


def _merged(defaults: PluginSet, custom: PluginSet) -> PluginSet:
    """The custom list changes defaults in their place, and adds to their end."""
    given = dict(custom.enabled)
    kept: list[tuple[str, int]] = []
    if "*" not in custom.disabled:
        for name, weight in defaults.enabled:
            if name in given and name not in custom.disabled:
                kept.append((name, given.pop(name)))
            elif name not in custom.disabled:
                kept.append((name, weight))
    return PluginSet((*kept, *((n, w) for n, w in custom.enabled if n in given)), custom.disabled)


def _check_profiles(profiles: Sequence[Profile], where: str) -> None:
    seen: set[str] = set()
    for i, profile in enumerate(profiles):
        if profile.scheduler_name in seen:
            raise ConfigError(
                f'{where}profiles[{i}].schedulerName: Duplicate value: "{profile.scheduler_name}"'
            )
        seen.add(profile.scheduler_name)


def plugins_at(profile: Profile, point: str, serves: Mapping[str, bool]) -> list[str]:
    """The names of the plugins of one extension point, in their order.

    1. those of multiPoint that the point names itself, as it orders them, 2. the others of
    multiPoint, 3. the rest of what the point names. `serves`: which plugins have the point at all.
    """
    own = profile.points.get(point, PluginSet())
    named = [name for name, _ in own.enabled]
    from_multi_point = (
        []
        if "*" in own.disabled
        else [
            name
            for name, _ in profile.multi_point.enabled
            if serves.get(name) and (name not in own.disabled or name in named)
        ]
    )
    overriding = [name for name in named if name in from_multi_point]
    return [
        *overriding,
        *(name for name in from_multi_point if name not in named),
        *(name for name in named if name not in overriding),
    ]


def weights_of(profile: Profile) -> dict[str, int]:
    """Score weights; what is not given counts once."""
    found = dict(profile.multi_point.enabled)
    found.update(dict(profile.points.get("score", PluginSet()).enabled))
    return {name: weight or 1 for name, weight in found.items()}


def _known(tree: Any, known: set[str], where: str) -> None:
    if not isinstance(tree, Mapping):
        raise ConfigError(f"{where.rstrip('.: ')}: expected a mapping")
    unknown = sorted(set(tree) - known)
    if unknown:
        raise ConfigError(f'{where}unknown field "{unknown[0]}"')


def _number(value: Any, where: str, lowest: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ConfigError(f"{where}: Invalid value: {value!r}: must be an integer")
    if value < lowest:
        raise ConfigError(f"{where}: Invalid value: {value}: must be at least {lowest}")
    return value
