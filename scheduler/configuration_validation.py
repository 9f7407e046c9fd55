"""What is wrong with a KubeSchedulerConfiguration whose fields have the right types. Pure.

Source: pkg/scheduler/apis/config/validation/validation.go,
k8s.io/component-base config/validation/validation.go.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from podpath.api import errors, names
from podpath.api.errors import FieldError, GoValue
from podpath.component_base import durations
from scheduler.plugins import args_validation

Tree = Mapping[str, Any]

_REMOVED_PLUGINS = ("AzureDiskLimits", "CinderLimits", "EBSLimits", "GCEPDLimits")
_VERSION = "kubescheduler.config.k8s.io/v1"
_WAS_INVALID = (
    f'was invalid in version "{_VERSION}" (KubeSchedulerConfiguration is version "{_VERSION}")'
)


def validate(tree: Tree) -> list[FieldError]:
    """All that is wrong. Raises: ValueError for a duration that is none."""
    return [
        *_client_connection(tree.get("clientConnection") or {}),
        *_leader_election(tree.get("leaderElection") or {}),
        *_positive("parallelism", tree.get("parallelism", 16)),
        *_profiles(tree.get("profiles") or [{}]),
        *_percentage("percentageOfNodesToScore", tree.get("percentageOfNodesToScore")),
        *_backoff(tree),
        *_extenders(tree.get("extenders") or ()),
    ]


def _client_connection(tree: Tree) -> Iterator[FieldError]:
    burst = tree.get("burst", 0)
    if burst < 0:
        yield errors.invalid("clientConnection.burst", burst, "must be non-negative")


def _leader_election(tree: Tree) -> Iterator[FieldError]:
    path = "leaderElection"
    if not tree.get("leaderElect", True):
        return
    periods = {"leaseDuration": "15s", "renewDeadline": "10s", "retryPeriod": "2s"}
    ns = {key: durations.parse(tree.get(key) or default) for key, default in periods.items()}
    for key, value in ns.items():
        if value <= 0:
            yield errors.invalid(f"{path}.{key}", _duration(value), "must be greater than zero")
    if ns["leaseDuration"] <= ns["renewDeadline"]:
        why = "LeaseDuration must be greater than RenewDeadline"
        yield errors.invalid(f"{path}.leaseDuration", _duration(ns["renewDeadline"]), why)
    lock = tree.get("resourceLock") or "leases"
    if lock != "leases":
        why = 'resourceLock value must be "leases"'
        yield errors.invalid(f"{path}.resourceLock", lock, why)


def _duration(ns: int) -> GoValue:
    return GoValue(f'"{durations.to_text(ns)}"')


def _positive(path: str, value: int) -> Iterator[FieldError]:
    if value <= 0:
        yield errors.invalid(path, value, "should be an integer value greater than zero")


def _percentage(path: str, value: int | None) -> Iterator[FieldError]:
    if value is not None and not 0 <= value <= 100:
        yield errors.invalid(path, value, "not in valid range [0-100]")


def _backoff(tree: Tree) -> Iterator[FieldError]:
    first, most = tree.get("podInitialBackoffSeconds", 1), tree.get("podMaxBackoffSeconds", 10)
    if first <= 0:
        yield errors.invalid("podInitialBackoffSeconds", first, "must be greater than 0")
    if most < first:
        why = "must be greater than or equal to PodInitialBackoffSeconds"
        yield errors.invalid("podMaxBackoffSeconds", most, why)


def _profiles(profiles: Sequence[Tree]) -> Iterator[FieldError]:
    first_of: dict[str, int] = {}
    for i, profile in enumerate(profiles):
        path = f"profiles[{i}]"
        # Only a profile that is alone has a default name.
        name = profile.get("schedulerName") or ""
        if not name and (len(profiles) > 1 or "schedulerName" in profile):
            yield errors.required(f"{path}.schedulerName")
        yield from _percentage(
            f"{path}.percentageOfNodesToScore", profile.get("percentageOfNodesToScore")
        )
        yield from _plugins(profile.get("plugins") or {}, f"{path}.plugins")
        yield from _plugin_config(profile.get("pluginConfig") or (), f"{path}.pluginConfig")
        if name in first_of:
            other = GoValue(f"profiles[{first_of[name]}].schedulerName")
            yield errors.duplicate(f"{path}.schedulerName", other)
        first_of.setdefault(name, i)
    yield from _queue_sort(profiles)


def _plugins(plugins: Tree, path: str) -> Iterator[FieldError]:
    for point, plugin_set in plugins.items():
        for i, plugin in enumerate((plugin_set or {}).get("enabled") or ()):
            at, name = f"{path}.{point}.enabled[{i}]", plugin.get("name", "")
            if name in _REMOVED_PLUGINS:
                yield errors.invalid(at, name, _WAS_INVALID)
            weight = plugin.get("weight") or 0
            if weight < 0:
                yield errors.invalid(f"{at}.weight", weight, "must be non-negative")


def _plugin_config(entries: Sequence[Tree], path: str) -> Iterator[FieldError]:
    seen: set[str] = set()
    for i, entry in enumerate(entries):
        at, name = f"{path}[{i}]", entry.get("name", "")
        if name in seen:
            yield errors.duplicate(at, name)
        seen.add(name)
        if name in _REMOVED_PLUGINS:
            yield errors.invalid(at, name, _WAS_INVALID)
        else:
            yield from args_validation.validate(name, entry.get("args") or {}, f"{at}.args")


def _queue_sort(profiles: Sequence[Tree]) -> Iterator[FieldError]:
    """There is one queue, so all profiles have to agree on its order."""

    def chosen(profile: Tree) -> Tree:
        return (profile.get("plugins") or {}).get("queueSort") or {}

    def arguments(profile: Tree, plugin: str) -> Any:
        entries = profile.get("pluginConfig") or ()
        return next((e.get("args") for e in entries if e.get("name") == plugin), None)

    first = chosen(profiles[0])
    enabled = first.get("enabled") or ()
    if len(enabled) > 1:
        path = "profiles[0].plugins.queueSort.Enabled"
        yield errors.invalid(path, len(enabled), "only one queue sort plugin can be enabled")
    sorter = enabled[0].get("name", "") if enabled else ""
    why = "queueSort must be the same for all profiles"
    for i, profile in enumerate(profiles[1:], 1):
        if chosen(profile) != first:
            yield errors.invalid(f"profiles[{i}].plugins.queueSort", chosen(profile), why)
        own = arguments(profile, sorter)
        if sorter and own is not None and own != arguments(profiles[0], sorter):
            yield errors.invalid(f"profiles[{i}].pluginConfig.args", own, why)


def _extenders(extenders: Sequence[Tree]) -> Iterator[FieldError]:
    seen: set[str] = set()
    for i, extender in enumerate(extenders):
        path = f"extenders[{i}]"
        weight = extender.get("weight", 0)
        if extender.get("prioritizeVerb") and weight <= 0:
            why = "must have a positive weight applied to it"
            yield errors.invalid(f"{path}.weight", weight, why)
        for j, resource in enumerate(extender.get("managedResources") or ()):
            at, name = f"{path}.managedResources[{j}].name", resource.get("name", "")
            yield from _extended_resource(at, name)
            if name in seen:
                yield errors.invalid(at, name, "duplicate extender managed resource name")
            seen.add(name)
    binders = sum(bool(extender.get("bindVerb")) for extender in extenders)
    if binders > 1:
        what = f"found {binders} extenders implementing bind"
        yield errors.invalid("extenders", what, "only one extender can implement bind")


def _extended_resource(path: str, name: str) -> Iterator[FieldError]:
    problems = names.label_key_problems(name)
    if problems:
        yield from (errors.invalid(path, name, problem) for problem in problems)
    elif "/" not in name or "kubernetes.io/" in name or name.startswith("requests."):
        yield errors.invalid(path, name, "is an invalid extended resource name")
