"""How a process starts its loop and how it ends."""

import asyncio
import gc
import logging
import signal
from collections.abc import Awaitable, Callable

import uvloop

_log = logging.getLogger(__name__)


def run(main: Callable[[], Awaitable[None]]) -> int:
    """Runs `main` on uvloop until it returns, fails, or SIGTERM or SIGINT cancels it.

    Returns the exit status: 0 after a clean end or a signal, 1 after a failure, which is logged
    with its message. Ends with the loop closed; `main` tidies up in its `finally` blocks.
    """
    # Long-lived caches make full collections slow and useless: collect rarely.
    gc.set_threshold(50_000, 20, 100)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_until_signalled(main))


async def _until_signalled(main: Callable[[], Awaitable[None]]) -> int:
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(main())
    signalled = False

    def stop() -> None:
        nonlocal signalled
        signalled = True
        task.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        await task
    except asyncio.CancelledError:
        if not signalled:
            raise
    except BaseExceptionGroup as group:
        return _report(_leaves(group))
    except Exception as error:
        return _report([error])
    return 0


def _report(errors: list[BaseException]) -> int:
    for error in errors:
        _log.error("ended by a failure: %s", error or type(error).__name__)
        _log.debug("traceback", exc_info=error)
    return 1


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found.extend(_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    return found
