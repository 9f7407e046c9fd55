"""What plugins remember of one Pod between the stages of one scheduling cycle."""

from collections.abc import Iterable
from typing import Any


class CycleState:
    """Written in PreFilter or PreScore, read in Filter or Score; keyed by plugin name.

    A value that Filter's `add_pod` or `remove_pod` changes has a method `clone`.
    """

    __slots__ = ("_data", "only_nodes", "only_nodes_plugins", "skip_filter", "skip_score")

    def __init__(self) -> None:
        self._data: dict[str, Any] = {}
        self.skip_filter: set[str] = set()
        self.skip_score: set[str] = set()
        self.only_nodes: frozenset[str] | None = None
        self.only_nodes_plugins: set[str] = set()

    def write(self, plugin: str, value: Any) -> None:
        self._data[plugin] = value

    def read(self, plugin: str) -> Any:
        """Raises: KeyError when the plugin's Pre stage wrote nothing, which is its own mistake."""
        return self._data[plugin]

    def find(self, plugin: str) -> Any:
        """None when nothing was written."""
        return self._data.get(plugin)

    def narrow(self, plugin: str, node_names: Iterable[str]) -> None:
        """From PreFilter: no node but these can fit."""
        names = frozenset(node_names)
        self.only_nodes = names if self.only_nodes is None else self.only_nodes & names
        self.only_nodes_plugins.add(plugin)

    def clone(self) -> "CycleState":
        """Independent for what-if questions."""
        twin = CycleState()
        twin._data = {
            name: value.clone() if hasattr(value, "clone") else value
            for name, value in self._data.items()
        }
        twin.skip_filter = set(self.skip_filter)
        twin.skip_score = set(self.skip_score)
        twin.only_nodes, twin.only_nodes_plugins = self.only_nodes, set(self.only_nodes_plugins)
        return twin
