"""The one event loop of a `podpath` command, for the steps of it that are asynchronous.

grpc.aio goes on handling events for a loop after `asyncio.run` has closed it, and prints a
traceback for each when a second loop of the process is polled: so there is one, closed at exit.
"""

import asyncio
import atexit
from collections.abc import Coroutine
from typing import Any, TypeVar

ResultT = TypeVar("ResultT")

_runner = asyncio.Runner()
atexit.register(_runner.close)


def run(work: Coroutine[Any, Any, ResultT]) -> ResultT:
    """Like `asyncio.run`, on the same loop each time."""
    return _runner.run(work)
