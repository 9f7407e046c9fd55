"""Builds the two images of a cluster on containers: stages a context, runs the engine's build.

    base          debian:bookworm-slim with packages, or debootstrap where no registry is reached
    common        the Python packages that podpath needs, copied from this environment
    control-plane etcd · node  nerdctl, example images

A digest of everything that goes in is a label of the images: an unchanged image is not built again.
"""

import hashlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from podpath.cli.cluster_engine import DIGEST_LABEL, Engine
from podpath.cli.layout import ClusterError
from podpath.cli.up import EXAMPLE_IMAGES
from podpath.component_base import binaries, image_tar

ROOT = Path(__file__).resolve().parents[2]
BASE = "podpath/base:bookworm"
PUBLIC_BASE = "debian:bookworm-slim"
ROLES = ("control-plane", "node")
PYTHON = (3, 11)  # Debian bookworm's
_PACKAGES = (
    "protos",
    "podpath",
    "apiserver",
    "scheduler",
    "kubelet",
    "runtime_shim",
    "controllers",
)
_BUILD_TIMEOUT_S = 900.0
_PULL_TIMEOUT_S = 60.0

Progress = Callable[[str], None]


def image_of(role: str) -> str:
    return f"podpath/{role}:{importlib.metadata.version('podpath')}"


def cache_dir() -> Path:
    """Where the base's file system and the build context are kept between builds."""
    if os.environ.get("PODPATH_CACHE"):
        return Path(os.environ["PODPATH_CACHE"])
    home = Path("/var/cache") if os.geteuid() == 0 else Path.home() / ".cache"
    return home / "podpath"


def ensure(engine: Engine, progress: Progress) -> None:
    """Builds what is missing or older than the sources. Raises: ClusterError."""
    digest = source_digest()
    stale = [role for role in ROLES if _digest_of(engine, image_of(role)) != digest]
    if not stale:
        return
    _ensure_base(engine, progress)
    context = cache_dir() / "context"
    progress("staging the build context")
    stage(context)
    for role in stale:
        progress(f"building {image_of(role)}")
        before = (engine.inspect("image", image_of(role)) or {}).get("Id", "")
        _build(engine, context, role, digest)
        if before:
            engine.succeeds("rmi", before)  # in use by a running cluster: it stays


def source_digest() -> str:
    """Of our sources, the packages' versions and the programs' sizes and times."""
    digest = hashlib.sha256()
    for path in _source_files():
        digest.update(str(path.relative_to(ROOT)).encode())
        digest.update(path.read_bytes())
    for name in sorted(dependencies()):
        digest.update(f"{name}={importlib.metadata.version(name)}".encode())
    for program in ("etcd", "nerdctl"):
        found = Path(binaries.find(program)).resolve().stat()
        digest.update(f"{program} {found.st_size} {found.st_mtime_ns}".encode())
    return digest.hexdigest()[:16]


def _source_files() -> Iterator[Path]:
    for package in _PACKAGES:
        yield from sorted(p for p in (ROOT / package).rglob("*.py") if p.is_file())
    yield from sorted(p for p in (ROOT / "deploy").iterdir() if p.is_file())


def _digest_of(engine: Engine, image: str) -> str:
    found = engine.inspect("image", image) or {}
    labels = (found.get("Config") or {}).get("Labels") or {}
    return str(labels.get(DIGEST_LABEL, ""))


def dependencies() -> set[str]:
    """Names of the distributions that podpath needs at run time, all the way down."""
    found: set[str] = set()
    waiting = ["podpath"]
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        try:
            requires = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # for another platform or Python
        found.add(name)
        for text in requires:
            requirement, _, marker = text.partition(";")
            if "extra ==" not in marker:
                waiting += re.findall(r"^[A-Za-z0-9._-]+", requirement.strip())
    return found - {"podpath"}


def stage(context: Path) -> None:
    """Fills the build context anew. Raises: ClusterError, ImageBuildError."""
    shutil.rmtree(context, ignore_errors=True)
    for name in ("site-packages", "code", "bin", "images"):
        (context / name).mkdir(parents=True)
    _stage_packages(context / "site-packages")
    for package in _PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__", "*.pyi", "*.proto")
        shutil.copytree(ROOT / package, context / "code" / package, ignore=ignored)
    for program in ("etcd", "nerdctl"):
        shutil.copy2(binaries.find(program), context / "bin" / program)
    shutil.copy2(ROOT / "deploy/podpath-join", context / "bin/podpath-join")
    names = tuple(f"docker.io/{name}" for name in EXAMPLE_IMAGES)
    for file, spec in {
        "busybox.tar": replace(image_tar.BUSYBOX_IMAGE, names=names),
        "pause.tar": image_tar.PAUSE_IMAGE,
    }.items():
        (context / "images" / file).write_bytes(image_tar.build(spec))


def _stage_packages(target: Path) -> None:
    """From this environment where its Python is the image's; else pip fetches the right wheels."""
    if sys.version_info[:2] != PYTHON:
        wanted = [f"{n}=={importlib.metadata.version(n)}" for n in sorted(dependencies())]
        version = ".".join(map(str, PYTHON))
        argv = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
        argv += [str(target), "--python-version", version, "--only-binary=:all:", *wanted]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ClusterError(f"packages for Python {version}: {done.stderr.strip()[-300:]}")
        return
    for name in (*dependencies(), "podpath"):
        distribution = importlib.metadata.distribution(name)
        for file in distribution.files or []:
            source = Path(str(distribution.locate_file(file)))
            if ".." in file.parts or "__pycache__" in file.parts or not source.is_file():
                continue  # console scripts, compiled files
            if "tests" in file.parts or (name == "podpath" and ".dist-info" not in file.parts[0]):
                continue  # of podpath itself only what its version is read from
            destination = target / file
            destination.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, destination)


def _ensure_base(engine: Engine, progress: Progress) -> None:
    if engine.inspect("image", BASE) is not None:
        return
    archive = cache_dir() / "base.tar"
    if not archive.exists() and _can_pull(engine):
        progress(f"building {BASE} from {PUBLIC_BASE}")
        file = ROOT / "deploy/Dockerfile.base"
        _run_build(engine, ["-t", BASE, "-f", str(file), str(ROOT / "deploy")])
        return
    if not archive.exists():
        if os.geteuid() != 0 or shutil.which("debootstrap") is None:
            raise ClusterError(
                "no registry is reachable, so the base image is made by debootstrap: "
                "run as root with debootstrap installed (apt-get install debootstrap)"
            )
        progress("making the base image's file system with debootstrap (a minute)")
        archive.parent.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            (str(ROOT / "deploy/base.sh"), str(archive)),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise ClusterError(f"deploy/base.sh: {done.stderr.strip()[-300:]}")
    progress(f"importing {BASE}")
    engine.run("import", str(archive), BASE, timeout_s=_BUILD_TIMEOUT_S)


def _can_pull(engine: Engine) -> bool:
    """Whether Debian's public image is here or can be had."""
    if engine.inspect("image", PUBLIC_BASE) is not None:
        return True
    try:
        engine.run("pull", "-q", PUBLIC_BASE, timeout_s=_PULL_TIMEOUT_S)
    except ClusterError:
        return False
    return True


def _build(engine: Engine, context: Path, role: str, digest: str) -> None:
    argv = ["-t", image_of(role), "--target", role, "--build-arg", f"BASE={BASE}"]
    argv += ["--label", f"{DIGEST_LABEL}={digest}", "-f", str(ROOT / "deploy/Dockerfile")]
    _run_build(engine, [*argv, str(context)])


def _run_build(engine: Engine, argv: list[str]) -> None:
    """With docker's classic builder: BuildKit is a plugin that not every installation has."""
    done = subprocess.run(
        (engine.program, "build", *engine.limits(), *argv),
        env={**os.environ, "DOCKER_BUILDKIT": "0"},
        capture_output=True,
        text=True,
        timeout=_BUILD_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        raise ClusterError(f"{engine.name} build: {(done.stderr or done.stdout).strip()[-600:]}")
