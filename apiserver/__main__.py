"""`python -m apiserver FLAGS`"""

import sys
from collections.abc import Sequence

from apiserver import config, server
from podpath.component_base import logs, shutdown


def main(argv: Sequence[str]) -> int:
    """Runs the API server until it is told to end."""
    settings = config.load(argv)
    logs.setup(settings.log_level, settings.log_format)
    return shutdown.run(lambda: server.run(settings))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
