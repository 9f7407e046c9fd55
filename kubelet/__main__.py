"""`python -m kubelet --kubeconfig FILE --container-runtime-endpoint unix:///PATH FLAGS`."""

import sys

from kubelet import app
from kubelet.config import Config
from podpath.component_base import config, logs, shutdown
from podpath.component_base.tracing import exported


def main() -> int:
    """The exit status; failures are logged in one line."""
    settings = config.load(
        Config,
        sys.argv[1:],
        prog="kubelet",
        description="Runs the Pods that are assigned to one node, through CRI.",
    )
    logs.setup(settings.log_level, settings.log_format)
    with exported(settings.tracing, "kubelet", settings.hostname_override):
        return shutdown.run(lambda: app.run(settings))


if __name__ == "__main__":
    sys.exit(main())
