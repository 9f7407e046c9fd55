"""Image references: Docker's short forms made whole. Pure.

Source: github.com/distribution/reference, normalize.go.
"""

import re

from runtime_shim.errors import invalid

_DEFAULT_DOMAIN = "docker.io"
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_DOMAIN = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)(?:\.[A-Za-z0-9-]+)*(?::[0-9]+)?|\[[0-9A-Fa-f:]+\](?::[0-9]+)?"
)
_DIGEST = re.compile(r"[A-Za-z0-9]+(?:[+._-][A-Za-z0-9]+)*:[0-9a-fA-F]{32,}")
MAX_NAME_CHARACTERS = 255


def normalize(reference: str) -> str:
    """`busybox` -> `docker.io/library/busybox:latest`; a digest is kept in place of a tag.

    Raises: CriError INVALID_ARGUMENT.
    """
    name, at, digest = reference.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        raise invalid(f"image {reference!r}: the digest is malformed")
    tag = ""
    head, colon, last = name.rpartition(":")
    if colon and "/" not in last:
        name, tag = head, last
        if not _TAG.fullmatch(tag):
            raise invalid(f"image {reference!r}: the tag is malformed")
    name = _with_domain(name)
    domain, _, path = name.partition("/")
    good = all(_COMPONENT.fullmatch(part) for part in path.split("/"))
    if not good or not _DOMAIN.fullmatch(domain) or len(name) > MAX_NAME_CHARACTERS:
        raise invalid(f"image {reference!r}: not a valid image name")
    if digest:
        return f"{name}@{digest}"
    return f"{name}:{tag or 'latest'}"


def _with_domain(name: str) -> str:
    first, slash, _ = name.partition("/")
    is_domain = bool(slash) and ("." in first or ":" in first or first == "localhost")
    if is_domain:
        return name
    return f"{_DEFAULT_DOMAIN}/{name}" if slash else f"{_DEFAULT_DOMAIN}/library/{name}"


def familiar(reference: str) -> str:
    """`docker.io/library/busybox:latest` -> `busybox:latest`: what nerdctl prints."""
    return reference.removeprefix("docker.io/").removeprefix("library/")
