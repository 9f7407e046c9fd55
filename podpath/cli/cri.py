"""`podpath cri`: listen between a kubelet and its runtime, play that again, check a runtime."""

import asyncio
import random
import subprocess
from pathlib import Path
from typing import Annotated

import typer

from podpath.cli import loop
from podpath.component_base import binaries
from podpath.component_base.clock import SystemClock
from runtime_shim import replay as replaying
from runtime_shim.errors import CriError
from runtime_shim.passthrough import Passthrough
from runtime_shim.remote_cri import RemoteCri
from runtime_shim.server import serve

app = typer.Typer(help="Look at the calls between a kubelet and a container runtime.")

EndpointArgument = Annotated[str, typer.Argument(help="The runtime: unix:///PATH.")]


@app.command()
def proxy(
    endpoint: EndpointArgument,
    listen: Annotated[str, typer.Option(help="Where the kubelet connects: unix:///PATH.")],
    record: Annotated[str, typer.Option(help="File for the calls, one JSON object a line.")],
    faults: Annotated[
        str, typer.Option(help="Calls to spoil: RPC=CODE[:PROBABILITY][:DELAY_S], joined by ;")
    ] = "",
) -> None:
    """Stand between a kubelet and a runtime, and write down every call. Ends with Ctrl-C."""
    if not listen.startswith("unix://"):
        raise _usage(f"--listen {listen!r}: expected unix:///PATH")

    async def run() -> None:
        remote = RemoteCri(
            endpoint, SystemClock(), record=record, faults=faults, dice=random.Random()
        )
        remote.open()
        try:
            async with serve(Passthrough(remote), Path(listen.removeprefix("unix://"))):
                typer.echo(f"passing calls on to {endpoint}; connect to {listen}")
                await asyncio.Event().wait()
        finally:
            await remote.close()

    try:
        loop.run(run())
    except CriError as error:
        raise _usage(error.message) from None
    except KeyboardInterrupt:
        return


@app.command()
def replay(
    record: Annotated[Path, typer.Argument(help="A file that `cri proxy` wrote.")],
    endpoint: EndpointArgument,
) -> None:
    """Play a recorded kubelet's calls against another runtime. Exit code 1 if they differ."""

    async def run() -> list[replaying.Difference]:
        remote = RemoteCri(endpoint, SystemClock(), record="", faults="", dice=random.Random())
        remote.open()
        try:
            with record.open("rb") as lines:
                return await replaying.play(list(replaying.read(lines)), remote)
        finally:
            await remote.close()

    try:
        differences = loop.run(run())
    except CriError as error:
        raise _usage(error.message) from None
    except OSError as error:
        raise _usage(f"{record}: {error.strerror}") from None
    for difference in differences:
        typer.echo(f"{record.name}:{difference.entry}: {difference.rpc}: {difference.what}")
    typer.echo(f"{len(differences)} differences")
    raise typer.Exit(1 if differences else 0)


@app.command()
def check(
    endpoint: EndpointArgument,
    flags: Annotated[
        list[str] | None, typer.Argument(help="Further flags for critest, after --.")
    ] = None,
) -> None:
    """Run critest against a runtime, if critest is installed; its exit code is ours."""
    try:
        program = binaries.find("critest")
    except binaries.BinaryNotFoundError as error:
        raise _usage(str(error)) from None
    argv = (program, f"--runtime-endpoint={endpoint}", f"--image-endpoint={endpoint}")
    raise typer.Exit(subprocess.run((*argv, *(flags or ())), check=False).returncode)


def _usage(message: str) -> typer.BadParameter:
    return typer.BadParameter(message)
