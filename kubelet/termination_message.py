"""What a container left to say: its termination-log file, or the end of its log.

Source: pkg/kubelet/kuberuntime/kuberuntime_container.go (getTerminationMessage).
"""

from collections import deque
from pathlib import Path

from kubelet.log_lines import parse_line
from kubelet.pod_dirs import PodFiles
from kubelet.runtime_status import TERMINATION_PATH_ANNOTATION, TERMINATION_POLICY_ANNOTATION
from protos.cri import runtime_v1_pb2 as cri

FALLBACK_BYTES = 2048
FALLBACK_LINES = 80


def read(container: cri.ContainerStatus, files: PodFiles) -> str:
    """The message of a container that has ended; empty when it left none."""
    path = container.annotations.get(TERMINATION_PATH_ANNOTATION, "")
    for mount in container.mounts:
        if path and mount.container_path == path:
            text = files.read_termination_log(mount.host_path)
            if text:
                return text
    policy = container.annotations.get(TERMINATION_POLICY_ANNOTATION, "")
    if policy == "FallbackToLogsOnError" and container.exit_code != 0 and container.log_path:
        return log_tail(container.log_path)
    return container.message


def log_tail(path: str) -> str:
    """The last 80 lines, at most 2048 bytes of them."""
    lines: deque[bytes] = deque(maxlen=FALLBACK_LINES)
    try:
        with Path(path).open("rb") as file:
            lines.extend(file)
    except OSError:
        return ""
    content = b"".join(line.content for raw in lines if (line := parse_line(raw)) is not None)
    return content[-FALLBACK_BYTES:].decode("utf-8", "replace")
