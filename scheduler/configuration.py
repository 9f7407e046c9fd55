"""KubeSchedulerConfiguration files (kubescheduler.config.k8s.io/v1), checked and completed.

Source: pkg/scheduler/apis/config/v1/{defaults,default_plugins}.go, apis/config/validation,
pkg/scheduler/framework/runtime/framework.go (expandMultiPointPlugins).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from podpath.api.errors import FieldError
from podpath.component_base import durations
from podpath.component_base.config import ConfigError
from scheduler import configuration_fields, configuration_validation
from scheduler.extender_config import ExtenderConfig
from scheduler.framework.runtime import POINTS
from scheduler.plugins.registry import DEFAULT_ORDER, DEFAULT_WEIGHTS

API_VERSION = "kubescheduler.config.k8s.io/v1"
KIND = "KubeSchedulerConfiguration"
DEFAULT_SCHEDULER = "default-scheduler"
_FIT = "NodeResourcesFit"


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

    def mentions(self) -> dict[str, str]:
        """All plugins that any point uses, in the order of their mention, with the first point."""
        found = dict.fromkeys((name for name, _ in self.multi_point.enabled), "preFilter")
        for point, plugins in self.points.items():
            for name, _ in plugins.enabled:
                found.setdefault(name, point)
        return found


@dataclass(frozen=True, slots=True)
class Configuration:
    """The whole file. `settings` are those that are flags too, by field name of Config."""

    profiles: tuple[Profile, ...] = (Profile(),)
    extenders: tuple[ExtenderConfig, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)


def read(tree: Mapping[str, Any], path: str) -> Configuration:
    """Decodes strictly, validates, completes.

    Raises: ConfigError, which names the file and all fields that cannot be used.
    """
    try:
        _check(tree)
        extenders = tuple(ExtenderConfig.read(item) for item in tree.get("extenders") or ())
        # Those that may fail go last, so that none of the others is asked in vain.
        extenders = tuple(sorted(extenders, key=lambda extender: extender.ignorable))
        ignored = [name for extender in extenders for name in extender.ignored_by_scheduler]
        profiles = tuple(_profile(profile, ignored) for profile in tree.get("profiles") or [{}])
        return Configuration(profiles, extenders, _settings(tree))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from error


def _check(tree: Mapping[str, Any]) -> None:
    version, kind = tree.get("apiVersion"), tree.get("kind")
    if (version, kind) != (API_VERSION, KIND):
        raise ConfigError(f'no kind "{kind}" is registered for version "{version}"')
    configuration_fields.check(tree, configuration_fields.FILE, KIND)
    for i, profile in enumerate(tree.get("profiles") or ()):
        for j, entry in enumerate(profile.get("pluginConfig") or ()):
            try:
                _check_args(entry.get("name", ""), entry.get("args") or {})
            except ConfigError as error:
                where = f"decoding .profiles[{i}].pluginConfig[{j}]"
                raise ConfigError(f"strict decoding error: {where}: {error}") from error
    found = configuration_validation.validate(tree)
    if found:
        raise ConfigError(aggregated(found))


def _check_args(plugin: str, args: Any) -> None:
    schema = configuration_fields.PLUGIN_ARGS.get(plugin)
    if schema is None:
        return
    kind = f"{plugin}Args"
    if args.get("kind", kind) != kind:
        raise ConfigError(f"args for plugin {plugin} were not of type {kind}, got {args['kind']}")
    try:
        known = {"apiVersion": "string", "kind": "string", **schema}
        configuration_fields.check(args, known, kind)
    except ConfigError as error:
        raise ConfigError(f"decoding args for plugin {plugin}: {error}") from error


def aggregated(found: Sequence[FieldError]) -> str:
    """One error as it is, several in brackets; the same text only once."""
    texts = list(dict.fromkeys(f"{error.path}: {error.message}" for error in found))
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"


def _settings(tree: Mapping[str, Any]) -> dict[str, Any]:
    """What flags say too."""
    election = tree.get("leaderElection") or {}
    found: dict[str, Any] = {}
    for key, name in (
        ("leaseDuration", "leader_elect_lease_duration_s"),
        ("renewDeadline", "leader_elect_renew_deadline_s"),
        ("retryPeriod", "leader_elect_retry_period_s"),
    ):
        if election.get(key):
            found[name] = durations.seconds(election[key])
    for key, name in (
        ("leaderElect", "leader_elect"),
        ("resourceName", "leader_elect_resource_name"),
        ("resourceNamespace", "leader_elect_resource_namespace"),
    ):
        if election.get(key) not in (None, ""):
            found[name] = election[key]
    kubeconfig = (tree.get("clientConnection") or {}).get("kubeconfig")
    if kubeconfig:
        found["kubeconfig"] = kubeconfig
    for key, name in (
        ("percentageOfNodesToScore", "percentage_of_nodes_to_score"),
        ("podInitialBackoffSeconds", "pod_initial_backoff_seconds"),
        ("podMaxBackoffSeconds", "pod_max_backoff_seconds"),
    ):
        if tree.get(key) is not None:
            found[name] = tree[key]
    return found


def _profile(tree: Mapping[str, Any], ignored_resources: Sequence[str]) -> Profile:
    plugins = tree.get("plugins") or {}
    points = {point: _plugin_set(plugins[point]) for point in POINTS if plugins.get(point)}
    multi_point = _merged(_DEFAULT_MULTI_POINT, _plugin_set(plugins.get("multiPoint") or {}))
    arguments = {e.get("name", ""): e.get("args") or {} for e in tree.get("pluginConfig") or ()}
    if ignored_resources:
        fit = {**arguments.get(_FIT, {}), "ignoredResources": list(ignored_resources)}
        arguments[_FIT] = fit
    return Profile(
        tree.get("schedulerName") or DEFAULT_SCHEDULER,
        multi_point,
        points,
        arguments,
        tree.get("percentageOfNodesToScore"),
    )


def _plugin_set(tree: Mapping[str, Any]) -> PluginSet:
    enabled = tuple((p.get("name", ""), p.get("weight") or 0) for p in tree.get("enabled") or ())
    return PluginSet(enabled, frozenset(p.get("name", "") for p in tree.get("disabled") or ()))


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
            if serves.get(name) and name not in own.disabled
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
