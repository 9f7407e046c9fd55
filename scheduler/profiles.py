"""Builds the frameworks that a configuration describes.

Source: pkg/scheduler/profile/profile.go, framework/runtime/framework.go (NewFramework).
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from podpath.component_base.clock import SystemClock
from podpath.component_base.config import ConfigError
from scheduler.cache import Cache
from scheduler.configuration import Configuration, Profile, plugins_at, weights_of
from scheduler.extender import ExtenderBinder, HttpExtender
from scheduler.framework.handle import Handle
from scheduler.framework.runtime import POINTS, Framework
from scheduler.listers import StoreListers
from scheduler.plugins.args import ArgsError
from scheduler.plugins.registry import Factory, factories


def build(
    configuration: Configuration, handle: Handle, extenders: Sequence[HttpExtender] = ()
) -> dict[str, Framework]:
    """Frameworks by schedulerName. Raises: ConfigError."""
    known = factories()
    found = {
        profile.scheduler_name: _framework(profile, handle, known, extenders)
        for profile in configuration.profiles
    }
    first = next(iter(found.values())).queue_sort.name
    for name, framework in found.items():
        own = framework.queue_sort.name
        if own != first:
            why = f'different queue sort plugins for profile "{name}": "{own}", first: "{first}"'
            raise ConfigError(f"initializing profiles: {why}")
    return found


def check(configuration: Configuration) -> None:
    """Raises: ConfigError for what `build` could not build."""
    clock = SystemClock()
    build(configuration, Handle(Cache(), StoreListers.holding(), random.Random(0), clock))


def _framework(
    profile: Profile,
    shared: Handle,
    known: Mapping[str, Factory],
    extenders: Sequence[HttpExtender],
) -> Framework:
    where = f"initializing profiles: creating profile for scheduler name {profile.scheduler_name}"
    handle = replace(shared, extenders=extenders)
    plugins: dict[str, Any] = {}
    for name, point in profile.mentions().items():
        factory = known.get(name)
        if factory is None:
            raise ConfigError(f'{where}: {POINTS[point].__name__} "{name}" does not exist')
        try:
            plugins[name] = factory(handle, profile.plugin_args.get(name, {}))
        except ArgsError as error:
            raise ConfigError(f'{where}: initializing plugin "{name}": {error}') from error
    by_point: dict[str, list[Any]] = {}
    for point, protocol in POINTS.items():
        serves = {name: isinstance(plugin, protocol) for name, plugin in plugins.items()}
        names = plugins_at(profile, point, serves)
        kind = protocol.__name__
        for i, name in enumerate(names):
            if not serves[name]:
                raise ConfigError(f'{where}: plugin "{name}" does not extend {kind} plugin')
            if name in names[:i]:
                raise ConfigError(f'{where}: plugin "{name}" already registered as "{kind}"')
        by_point[point] = [plugins[name] for name in names]
    of_profile = f'for profile with scheduler name "{profile.scheduler_name}"'
    sorters = len(by_point["queueSort"])
    if sorters != 1:
        why = f"only one queue sort plugin required {of_profile}, but got {sorters}"
        raise ConfigError(f"{where}: {why}")
    if not by_point["bind"]:
        raise ConfigError(f"{where}: at least one bind plugin is needed {of_profile}")
    binding = [ExtenderBinder(extender) for extender in extenders if extender.binds]
    by_point["bind"] = [*binding, *by_point["bind"]]
    framework = Framework(
        tuple(plugins.values()),
        weights_of(profile),
        by_point=by_point,
        profile=profile.scheduler_name,
        nominator=handle.nominator,
        waiting=handle.waiting,
    )
    handle.filters = framework
    return framework
