"""`python -m runtime_shim --listen unix:///PATH --state-dir DIR [--backend nerdctl|fake]`."""

import asyncio
import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

from podpath.component_base import config, logs, serving, shutdown
from podpath.component_base.clock import SystemClock
from podpath.component_base.tracing import exported
from runtime_shim.backend import Backend, BackendContext
from runtime_shim.checkpoint import JournalCheckpoints
from runtime_shim.config import Config
from runtime_shim.registry import make_backend
from runtime_shim.server import serve
from runtime_shim.shim import RuntimeShim
from runtime_shim.streaming import StreamingServer
from runtime_shim.teardown import teardown


def main() -> int:
    settings = config.load(
        Config,
        sys.argv[1:],
        prog="runtime_shim",
        description="CRI server of one node.",
    )
    logs.setup(settings.log_level, settings.log_format)
    with exported(settings.tracing, "runtime_shim"):
        return shutdown.run(lambda: run(settings))


async def run(settings: Config) -> None:
    """Serves until cancelled. Containers go on running afterwards."""
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        stack.enter_context(_only_one(settings.state_dir))
        context = BackendContext(clock, settings.state_dir, settings.backend_options())
        backends = _backends(settings.handlers(), context)
        shim = RuntimeShim(
            backends,
            clock=clock,
            checkpoints=JournalCheckpoints(settings.state_dir / "journal"),
        )
        await stack.enter_async_context(shim)
        if settings.teardown:
            await teardown(shim, set(backends.values()))
            return
        streams = StreamingServer(shim.runtime, settings.streaming_address, settings.streaming_port)
        await stack.enter_async_context(streams)
        shim.serve_streams(streams)
        await stack.enter_async_context(serve(shim, settings.socket))
        await stack.enter_async_context(serving.diagnostics(settings.diagnostics_socket))
        await asyncio.Event().wait()


def _backends(names: dict[str, str], context: BackendContext) -> dict[str, Backend]:
    made = {name: make_backend(name, context) for name in set(names.values())}
    return {handler: made[name] for handler, name in names.items()}


@contextmanager
def _only_one(state_dir: Path) -> Iterator[None]:
    """Two shims on one state directory would fight over every container."""
    state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    fd = os.open(state_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise config.ConfigError(f"another shim serves {state_dir}") from None
    try:
        yield
    finally:
        os.close(fd)


if __name__ == "__main__":
    sys.exit(main())
