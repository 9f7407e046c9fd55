"""What plugins remember of one Pod between the stages of one scheduling cycle."""

from typing import Any


class CycleState:
    """Written in PreFilter or PreScore, read in Filter or Score; keyed by plugin name."""

    __slots__ = ("_data", "skip_filter", "skip_score")

    def __init__(self) -> None:
        self._data: dict[str, Any] = {}
        self.skip_filter: set[str] = set()
        self.skip_score: set[str] = set()

    def write(self, plugin: str, value: Any) -> None:
        self._data[plugin] = value

    def read(self, plugin: str) -> Any:
        """Raises: KeyError when the plugin's Pre stage wrote nothing, which is its own mistake."""
        return self._data[plugin]
