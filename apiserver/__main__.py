"""`python -m apiserver FLAGS`"""

import sys
from collections.abc import Sequence

from apiserver import config, server
from podpath.component_base import logs, shutdown
from podpath.component_base.pod_trace import PodStep
from podpath.component_base.tracing import exported


def main(argv: Sequence[str]) -> int:
    """Runs the API server until it is told to end."""
    settings = config.load(argv)
    logs.setup(settings.log_level, settings.log_format)
    # Without the annotation nobody learns of a trace: it ends with the request.
    last = PodStep.STATUS_RUNNING if settings.pod_traceparent_annotation else PodStep.RESPONDED
    with exported(settings.tracing, "apiserver", creation_ends_with=last):
        return shutdown.run(lambda: server.run(settings))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
