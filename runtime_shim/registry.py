"""Backends by name: our own, and entry points of the group `podpath.runtime_backends`."""

from importlib import import_module
from importlib.metadata import entry_points
from typing import cast

from podpath.component_base.config import ConfigError
from runtime_shim.backend import Backend, BackendContext, BackendFactory

GROUP = "podpath.runtime_backends"
OWN = {
    "nerdctl": "runtime_shim.backends.nerdctl",
    "fake": "runtime_shim.backends.fake",
    "proxy": "runtime_shim.backends.proxy",
}


def make_backend(name: str, context: BackendContext) -> Backend:
    """Ours come first. Raises: ConfigError naming the backends that there are."""
    if name in OWN:
        factory = import_module(OWN[name]).create
    else:
        found = {point.name: point for point in entry_points(group=GROUP)}
        if name not in found:
            known = ", ".join(sorted({*OWN, *found}))
            raise ConfigError(f"--backend {name!r} is not known; there are: {known}")
        factory = found[name].load()
    return cast("BackendFactory", factory)(context)
