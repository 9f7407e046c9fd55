"""GET /version: what kubectl compares itself with.

Source: k8s.io/apimachinery pkg/version/types.go.
"""

import platform
from typing import Any

MAJOR = "1"
MINOR = "33"
KUBERNETES_VERSION = "v1.33.4"
"""The release whose API this is."""


def version_info(podpath_version: str) -> dict[str, Any]:
    """Dispatching wrappers parse gitVersion as a semantic version: build data comes after `+`."""
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    return {
        "major": MAJOR,
        "minor": MINOR,
        "emulationMajor": MAJOR,
        "emulationMinor": MINOR,
        "minCompatibilityMajor": MAJOR,
        "minCompatibilityMinor": "32",
        "gitVersion": f"{KUBERNETES_VERSION}+podpath",
        "gitCommit": podpath_version,
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": f"python{platform.python_version()}",
        "compiler": platform.python_implementation(),
        "platform": f"linux/{machine}",
    }
