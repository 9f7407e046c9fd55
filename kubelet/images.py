"""Makes sure that a container's image is there, by its pull policy, with back-off.

Source: pkg/kubelet/images/image_manager.go, pkg/credentialprovider.
"""

import asyncio
import base64
import binascii
import re
from collections.abc import Iterable, Sequence

import orjson

from kubelet.backoff import Backoff
from kubelet.container_statuses import StartFailure
from kubelet.cri_client import Cri, CriError
from kubelet.events import NORMAL, WARNING, PodEvents
from podpath.component_base.clock import Clock
from protos.cri import runtime_v1_pb2 as cri
from protos.k8s import core_v1_pb2 as core

_NAME = re.compile(
    r"(?:(?P<host>[a-zA-Z0-9.-]+(?::[0-9]+)?)/)?(?P<path>[a-z0-9]+(?:(?:[._]|__|[-]*)[a-z0-9]+)*"
    r"(?:/[a-z0-9]+(?:(?:[._]|__|[-]*)[a-z0-9]+)*)*)"
    r"(?P<tag>:[\w][\w.-]{0,127})?(?P<digest>@[a-z0-9]+:[0-9a-fA-F]{32,})?"
)


class ImageError(Exception):
    """The image is not usable now; `failure` is what the status shows."""

    def __init__(self, failure: StartFailure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def normalized(image: str) -> str:
    """With the tag `latest` where neither tag nor digest is given. Raises: ImageError."""
    match = _NAME.fullmatch(image)
    if match is None:
        message = (
            f'Failed to apply default image tag "{image}": couldn\'t parse image name "{image}": '
            "invalid reference format"
        )
        raise ImageError(StartFailure("InvalidImageName", message))
    return image if match["tag"] or match["digest"] else f"{image}:latest"


class Images:
    """The images of one node. One pull at a time unless `parallel`."""

    def __init__(
        self, runtime: Cri, events: PodEvents, backoff: Backoff, clock: Clock, *, parallel: bool
    ) -> None:
        self._cri = runtime
        self._events = events
        self._backoff = backoff
        self._clock = clock
        self._turn = asyncio.Semaphore(8 if parallel else 1)
        self._last_errors: dict[str, str] = {}

    async def ensure(
        self,
        pod: core.Pod,
        container: core.Container,
        secrets: Sequence[core.Secret],
        sandbox: cri.PodSandboxConfig,
        handler: str = "",
    ) -> cri.Image:
        """The image in the runtime that `handler` names, pulled if its policy wants that.

        Raises: ImageError.
        """
        name = normalized(container.image)
        spec = cri.ImageSpec(image=name, runtime_handler=handler)
        policy = container.imagePullPolicy or "IfNotPresent"
        try:
            present = (await self._cri.ImageStatus(cri.ImageStatusRequest(image=spec))).image
        except CriError as error:
            message = f'Failed to inspect image "{container.image}": {error}'
            self._events.container(pod, container.name, WARNING, "InspectFailed", message)
            raise ImageError(StartFailure("ImageInspectError", message)) from error
        if present.id and policy != "Always":
            message = f'Container image "{container.image}" already present on machine'
            self._events.container(pod, container.name, NORMAL, "Pulled", message)
            return present
        if policy == "Never":
            message = (
                f'Container image "{container.image}" is not present with pull policy of Never'
            )
            self._events.container(pod, container.name, WARNING, "ErrImageNeverPull", message)
            raise ImageError(StartFailure("ErrImageNeverPull", message))
        return await self._pull(pod, container, spec, secrets, sandbox)

    async def _pull(
        self,
        pod: core.Pod,
        container: core.Container,
        spec: cri.ImageSpec,
        secrets: Sequence[core.Secret],
        sandbox: cri.PodSandboxConfig,
    ) -> cri.Image:
        image = container.image
        key = f"{pod.metadata.uid}_{image}"
        if self._backoff.remaining(key) > 0:
            message = f'Back-off pulling image "{image}"'
            self._events.container(pod, container.name, NORMAL, "BackOff", message)
            if key in self._last_errors:
                message = f"{message}: ErrImagePull: {self._last_errors[key]}"
            raise ImageError(StartFailure("ImagePullBackOff", message))
        asked = self._clock.monotonic()
        async with self._turn:
            self._events.container(
                pod, container.name, NORMAL, "Pulling", f'Pulling image "{image}"'
            )
            began = self._clock.monotonic()
            try:
                await self._pull_with(spec, credentials_for(image, secrets), sandbox)
            except CriError as error:
                self._backoff.next(key)
                self._last_errors[key] = str(error)
                message = f'Failed to pull image "{image}": {error}'
                self._events.container(pod, container.name, WARNING, "Failed", message)
                raise ImageError(StartFailure("ErrImagePull", str(error))) from error
            ended = self._clock.monotonic()
        self._backoff.forget(key)
        self._last_errors.pop(key, None)
        found = (await self._cri.ImageStatus(cri.ImageStatusRequest(image=spec))).image
        message = (
            f'Successfully pulled image "{image}" in {_seconds(ended - began)} '
            f"({_seconds(ended - asked)} including waiting). Image size: {found.size} bytes."
        )
        self._events.container(pod, container.name, NORMAL, "Pulled", message)
        return found

    async def _pull_with(
        self,
        spec: cri.ImageSpec,
        credentials: Sequence[cri.AuthConfig],
        sandbox: cri.PodSandboxConfig,
    ) -> None:
        """Tries each credential, none at all when there is none."""
        failure: CriError | None = None
        for auth in credentials or (cri.AuthConfig(),):
            try:
                await self._cri.PullImage(
                    cri.PullImageRequest(image=spec, auth=auth, sandbox_config=sandbox)
                )
            except CriError as error:
                failure = error
            else:
                return
        assert failure is not None
        raise failure


def _seconds(elapsed: float) -> str:
    return f"{elapsed * 1000:.0f}ms" if elapsed < 1 else f"{elapsed:.3f}s"


def registry_of(image: str) -> str:
    """Host (and port) of the registry; Docker Hub's when the name has none."""
    first, slash, _ = image.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return first
    return "index.docker.io"


def credentials_for(image: str, secrets: Iterable[core.Secret]) -> list[cri.AuthConfig]:
    """Those of the pull secrets' entries whose registry is the image's, longest match first."""
    registry = registry_of(image)
    found: list[tuple[int, cri.AuthConfig]] = []
    for secret in secrets:
        for where, entry in _entries(secret).items():
            host, _, path = where.removeprefix("https://").removeprefix("http://").partition("/")
            if host in (registry, "docker.io" if registry == "index.docker.io" else registry) and (
                path in ("", "v1/", "v2/", "v1", "v2") or image.startswith(f"{host}/{path}")
            ):
                found.append((len(where), _auth(entry)))
    return [auth for _, auth in sorted(found, key=lambda pair: -pair[0])]


def _entries(secret: core.Secret) -> dict[str, dict[str, str]]:
    try:
        if ".dockerconfigjson" in secret.data:
            tree = orjson.loads(secret.data[".dockerconfigjson"]).get("auths", {})
        elif ".dockercfg" in secret.data:
            tree = orjson.loads(secret.data[".dockercfg"])
        else:
            return {}
    except (ValueError, AttributeError):
        return {}
    return {k: v for k, v in tree.items() if isinstance(v, dict)} if isinstance(tree, dict) else {}


def _auth(entry: dict[str, str]) -> cri.AuthConfig:
    user, password = entry.get("username", ""), entry.get("password", "")
    if not user and entry.get("auth"):
        try:
            user, _, password = base64.b64decode(entry["auth"]).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            user = password = ""
    return cri.AuthConfig(username=user, password=password)
