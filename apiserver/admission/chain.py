"""Runs the admission plugins in their order: mutating ones, later the validating ones.

The first rejection ends the request, so nothing is stored.

Source: k8s.io/apiserver pkg/admission/chain.go; the order of plugins is
pkg/kubeapiserver/options/plugins.go.
"""

from collections.abc import Sequence

from apiserver.admission.interface import Attributes, MutatingPlugin, Plugin, ValidatingPlugin


class Chain:
    """The enabled plugins. A plugin that has both phases appears in both."""

    def __init__(self, plugins: Sequence[Plugin]) -> None:
        self._mutating: list[MutatingPlugin] = [p for p in plugins if _mutates(p)]  # type: ignore[misc]
        self._validating: list[ValidatingPlugin] = [p for p in plugins if _validates(p)]  # type: ignore[misc]

    async def mutate(self, attributes: Attributes) -> bool:
        """True if any plugin was asked. Raises: ApiError of the first that rejects."""
        asked = False
        for plugin in self._mutating:
            if plugin.handles(attributes):
                await plugin.admit(attributes)
                asked = True
        return asked

    async def validate(self, attributes: Attributes) -> None:
        """Raises: ApiError of the first plugin that rejects."""
        for plugin in self._validating:
            if plugin.handles(attributes):
                await plugin.validate(attributes)


def _mutates(plugin: Plugin) -> bool:
    return hasattr(plugin, "admit")


def _validates(plugin: Plugin) -> bool:
    return hasattr(plugin, "validate")
