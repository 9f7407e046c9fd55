"""The images that critest asks for, built from busybox: names, and what each must be able to do."""

import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from podpath.component_base.image_tar import ImageSpec

E2E = "registry.k8s.io"
STAGING = "gcr.io"
_PAGE = "<html><body>It works</body></html>\n"
# busybox has no ipcs; critest only looks for the segment's number in its output.
_IPCS = "#!/bin/sh\ncat /proc/sysvipc/shm\n"
_PGREP = """#!/bin/sh
for process in /proc/[0-9]*; do
  read -r name < "$process/comm" && [ "$name" = "$1" ] && found=yes && echo "${process#/proc/}"
done 2>/dev/null
[ "$found" = yes ]
"""
# critest looks for a process named nginx with "master process" among its words.
_NGINX = """#!/bin/sh
echo $$ > /var/run/nginx.pid
httpd -f -h /var/www -p "$2" &
trap 'kill $!; exit 0' TERM
wait
"""
_EFFECTIVE_UID = """package main

import (
	"fmt"
	"os"
)

func main() { fmt.Printf("Effective uid: %d\\n", os.Geteuid()) }
"""
_USERS = """root:x:0:0:root:/root:/bin/sh
default-user:x:1000:1000::/home:/bin/sh
www-data:x:33:33::/var/www:/bin/false
nobody:x:65534:65534:nobody:/home:/bin/false
"""
_GROUPS = """root:x:0:
default-user:x:1000:
group-defined-in-image:x:50000:default-user
www-data:x:33:
nogroup:x:65534:
"""


@dataclass(frozen=True, slots=True)
class TestImage:
    """What the registry serves."""

    __test__ = False

    host: str
    repository: str
    tags: tuple[str, ...]
    spec: ImageSpec


def all_images() -> list[TestImage]:
    return [*_servers(), *_pullable(), *_users(), _no_new_privileges()]


def _image(host: str, repository: str, *tags: str, **more: object) -> TestImage:
    files: Mapping[str, str] = {
        "/usr/bin/ipcs": _IPCS,
        "/usr/bin/pgrep": _PGREP,
        "/marker": repository + "\n",
    }
    files = {**files, **more.pop("files", {})}  # type: ignore[dict-item]
    spec = ImageSpec(names=(), files=files, passwd=_USERS, group=_GROUPS, **more)  # type: ignore[arg-type]
    return TestImage(host, repository, tags or ("latest",), spec)


def _servers() -> list[TestImage]:
    page = {"/var/www/index.html": _PAGE}
    page["/usr/sbin/nginx"] = _NGINX
    nginx = ["/usr/sbin/nginx", "master process"]
    return [
        _image(E2E, "e2e-test-images/busybox", "1.29-2", programs=_shell()),
        _image(E2E, "e2e-test-images/nginx", "1.14-2", command=[*nginx, "80"], files=page),
        _image(
            E2E,
            "e2e-test-images/httpd",
            "2.4.39-4",
            command=["sh", "-c", "echo httpd starts; exec httpd -f -h /var/www -p 80"],
            files=page,
        ),
        _image(
            STAGING,
            "k8s-staging-cri-tools/hostnet-nginx-amd64",
            command=[*nginx, "12003"],
            files=page,
        ),
    ]


def _shell() -> dict[str, bytes]:
    """A shell that looks commands up, with its libraries: the one in busybox-static runs its own
    `ls`, masked or not. It is that of Debian's other busybox, which cannot be installed beside the
    static one; {} where it cannot be fetched, and then critest's masked path stays visible."""
    with tempfile.TemporaryDirectory() as directory:
        for argv in (
            ("apt-get", "download", "-q", "busybox"),
            ("sh", "-c", "dpkg-deb -x busybox_*.deb ."),
        ):
            try:
                subprocess.run(argv, cwd=directory, capture_output=True, check=True, timeout=120)
            except (OSError, subprocess.SubprocessError):
                return {}
        shell = Path(directory, "bin/busybox")
        linked = subprocess.run(["ldd", shell], capture_output=True, text=True, check=True).stdout
        libraries = [word for word in linked.split() if word.startswith("/")]
        return {"/bin/sh": shell.read_bytes()} | {p: Path(p).read_bytes() for p in libraries}


def _pullable() -> list[TestImage]:
    prefix = "k8s-staging-cri-tools/test-image"
    return [
        _image(STAGING, f"{prefix}-latest"),
        _image(STAGING, f"{prefix}-tag", "test", "all"),
        _image(STAGING, f"{prefix}-digest"),
        _image(STAGING, f"{prefix}-1"),
        _image(STAGING, f"{prefix}-2"),
        _image(STAGING, f"{prefix}-3"),
        _image(STAGING, f"{prefix}-tags", "1", "2", "3"),
    ]


def _users() -> list[TestImage]:
    prefix = "k8s-staging-cri-tools/test-image"
    return [
        _image(STAGING, f"{prefix}-user-uid", user="1002"),
        _image(STAGING, f"{prefix}-user-username", user="www-data"),
        _image(STAGING, f"{prefix}-user-uid-group", user="1003:users"),
        _image(STAGING, f"{prefix}-user-username-group", user="www-data:100"),
        _image(STAGING, f"{prefix}-predefined-group", user="1000"),
    ]


def _no_new_privileges() -> TestImage:
    """A setuid program that says who it runs as."""
    with tempfile.TemporaryDirectory() as directory:
        source, program = Path(directory, "main.go"), Path(directory, "nnp")
        source.write_text(_EFFECTIVE_UID)
        subprocess.run(
            ["go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, source],
            check=True,
            env={"PATH": "/usr/local/go/bin:/usr/bin:/bin", "HOME": directory, "CGO_ENABLED": "0"},
        )
        return _image(
            E2E,
            "e2e-test-images/nonewprivs",
            "1.3",
            command=["/nnp"],
            setuid_programs={"/nnp": program.read_bytes()},
        )
