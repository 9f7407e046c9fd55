"""Tells on standard error what is being done and when."""

from rich.console import Console
from rich.markup import escape

from podpath.component_base.clock import SystemClock

err = Console(stderr=True, soft_wrap=True, highlight=False)


class Progress:
    """Called with a sentence; counts the seconds since it was made."""

    def __init__(self) -> None:
        self._clock = SystemClock()
        self._start = self._clock.monotonic()

    def __call__(self, text: str) -> None:
        err.print(f"[dim]{self.seconds:6.2f} s[/dim]  {escape(text)}")

    @property
    def seconds(self) -> float:
        return self._clock.monotonic() - self._start
