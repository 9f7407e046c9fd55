"""Which signal stops a container. Pure."""

import contextlib
import signal

from protos.cri import runtime_v1_pb2 as cri


def of(config: cri.ContainerConfig, images_own: str) -> int:
    """The container's own, else its image's (a name, or ""), else SIGTERM."""
    name = cri.Signal.Name(config.stop_signal)
    if config.stop_signal == cri.RUNTIME_DEFAULT:
        name = images_own or "SIGTERM"
    return number(name)


def number(name: str) -> int:
    """`SIGTERM`, `TERM`, `15`, `SIGRTMINPLUS3`, `SIGRTMIN+3`; SIGTERM for anything unknown."""
    if name.isdigit():
        return int(name)
    text = name.upper().removeprefix("SIG").replace("PLUS", "+").replace("MINUS", "-")
    for base in ("RTMIN", "RTMAX"):
        if text.startswith(base):
            offset = text.removeprefix(base) or "0"
            with contextlib.suppress(ValueError):
                return int(signal.Signals[f"SIG{base}"]) + int(offset)
    return int(signal.Signals.__members__.get(f"SIG{text}", signal.SIGTERM))
