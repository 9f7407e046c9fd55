"""Images by nerdctl, kept in memory: what it told last, until somebody changes something."""

import asyncio
import base64
import contextlib
import json
import logging
import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from podpath.component_base.clock import Clock
from protos.cri import runtime_v1_pb2 as cri
from runtime_shim import command
from runtime_shim.backends import nerdctl_argv
from runtime_shim.backends.nerdctl_argv import NerdctlSettings
from runtime_shim.errors import Code, CriError
from runtime_shim.image_reference import familiar, normalize

MAX_AGE_S = 20.0
"""The safety net for changes that did not come through this shim, nor through its events."""
TELL_EVERY_S = 5.0
LAST_SAID_BYTES = 4096
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Known:
    """An image with what containers need of it."""

    image: cri.Image
    config: Mapping[str, Any]
    names: list[str] = field(default_factory=list)


class NerdctlImages:
    """The `Images` part of the nerdctl backend."""

    def __init__(
        self,
        settings: NerdctlSettings,
        clock: Clock,
        pull_timeout_s: float,
        now_ns: Callable[[], int],
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._now_ns = now_ns
        self._pull_timeout_s = pull_timeout_s
        self._by_id: dict[str, _Known] = {}
        self._by_name: dict[str, _Known] = {}
        self._fresh_until = -1.0
        self._lock = asyncio.Lock()

    async def images(self) -> Sequence[cri.Image]:
        await self._refresh()
        return [known.image for known in self._by_id.values()]

    async def image(self, reference: str) -> cri.Image | None:
        known = await self.find(reference)
        return known.image if known else None

    async def find(self, reference: str) -> _Known | None:
        """By name, digest or id. A miss asks nerdctl again: someone may have loaded it."""
        await self._refresh()
        if found := self._look_up(reference):
            return found
        await self._refresh(force=True)
        return self._look_up(reference)

    async def pull_image(
        self, spec: cri.ImageSpec, auth: cri.AuthConfig, sandbox: cri.PodSandboxConfig
    ) -> str:
        name = normalize(spec.image)
        with tempfile.TemporaryDirectory(prefix="podpath-pull-") as directory:
            environment = {}
            if config := docker_config(name, auth):
                Path(directory, "config.json").write_text(json.dumps(config))
                environment["DOCKER_CONFIG"] = directory
            finished = await command.run(
                nerdctl_argv.pull(self._settings, name),
                timeout_s=self._pull_timeout_s,
                environment=environment,
                moved=PullProgress(spec.image, self._clock).moved,
            )
        if finished.code != 0:
            raise pull_error(spec.image, finished.complaint())
        await self._refresh(force=True)
        if found := self._look_up(name):
            return found.image.id
        raise CriError(Code.INTERNAL, f"image {name!r} was pulled and is not there")

    async def remove_image(self, image: cri.Image) -> None:
        known = self._by_id.get(image.id)
        if known is None:
            return
        names = [familiar(name) for name in known.names]
        finished = await command.run(nerdctl_argv.remove_images(self._settings, names))
        await self._refresh(force=True)
        if finished.code != 0 and "no such image" not in finished.complaint().lower():
            raise CriError(Code.FAILED_PRECONDITION, finished.complaint())

    async def image_fs(self) -> cri.ImageFsInfoResponse:
        await self._refresh()
        used = cri.FilesystemUsage(
            timestamp=self._now_ns(),
            fs_id=cri.FilesystemIdentifier(mountpoint=self._settings.data_root),
            used_bytes=cri.UInt64Value(value=sum(k.image.size for k in self._by_id.values())),
            inodes_used=cri.UInt64Value(value=len(self._by_id)),
        )
        return cri.ImageFsInfoResponse(image_filesystems=[used], container_filesystems=[used])

    def _look_up(self, reference: str) -> _Known | None:
        if found := self._by_id.get(reference) or self._by_id.get(f"sha256:{reference}"):
            return found
        with contextlib.suppress(CriError):
            if found := self._by_name.get(normalize(reference)):
                return found
        bare = reference.removeprefix("sha256:")
        if len(bare) >= 12:  # the beginning of an id, as crictl shows it
            matching = [k for i, k in self._by_id.items() if i[7:].startswith(bare)]
            return matching[0] if len(matching) == 1 else None
        return None

    async def _refresh(self, *, force: bool = False) -> None:
        asked_at = self._clock.monotonic()
        if not force and asked_at < self._fresh_until:
            return
        async with self._lock:
            if self._fresh_until - MAX_AGE_S > asked_at:
                return  # somebody else asked while we waited
            now = self._clock.monotonic()
            lines = await command.must(nerdctl_argv.list_images(self._settings))
            names = sorted({json.loads(line)["Name"] for line in lines.splitlines() if line})
            entries: list[dict[str, Any]] = []
            if names:
                finished = await command.run(
                    nerdctl_argv.inspect_images(self._settings, [familiar(n) for n in names])
                )
                entries = command.json_entries(finished.stdout)
            self._by_id, self._by_name = index(entries)
            self._fresh_until = now + MAX_AGE_S


class PullProgress:
    """Sees how far a pull is, from what nerdctl says; tells it now and then."""

    _TOTAL = re.compile(rb"total:\s+([0-9.]+ ?\S*)")

    def __init__(self, image: str, clock: Clock) -> None:
        self._image = image
        self._clock = clock
        self._seen = b""
        self._told_at = clock.monotonic()

    def moved(self, said: bytes) -> bool:
        """True if more has come since the last call."""
        totals = self._TOTAL.findall(said[-LAST_SAID_BYTES:])
        if not totals or totals[-1] == self._seen:
            return False
        self._seen = totals[-1]
        now = self._clock.monotonic()
        if now - self._told_at >= TELL_EVERY_S:
            self._told_at = now
            come = self._seen.decode()
            _log.info("image is being pulled", extra={"image": self._image, "come": come})
        return True


def index(entries: Sequence[Mapping[str, Any]]) -> tuple[dict[str, _Known], dict[str, _Known]]:
    """What `image inspect --mode=native` printed, by id and by every name. Pure."""
    by_id: dict[str, _Known] = {}
    by_name: dict[str, _Known] = {}
    for entry in entries:
        name = entry["Image"]["Name"]
        image_id = entry["ImageConfigDesc"]["digest"]
        known = by_id.get(image_id)
        if known is None:
            known = by_id[image_id] = _Known(_image(image_id, entry), _config(entry))
        known.names.append(name)
        repository = name.partition("@")[0]
        if "@" not in name:
            repository = name.rpartition(":")[0]
            if name not in known.image.repo_tags:
                known.image.repo_tags.append(name)
        digest = f"{repository}@{entry['Image']['Target']['digest']}"
        if digest not in known.image.repo_digests:
            known.image.repo_digests.append(digest)
        by_name[name] = by_name[digest] = known
    return by_id, by_name


def docker_config(name: str, auth: cri.AuthConfig) -> dict[str, Any]:
    """A Docker client's config.json that holds these credentials; empty without any."""
    if not auth.ListFields():
        return {}
    host = name.partition("/")[0]
    entry: dict[str, str] = {}
    if auth.username or auth.password:
        entry["auth"] = base64.b64encode(f"{auth.username}:{auth.password}".encode()).decode()
    elif auth.auth:
        entry["auth"] = auth.auth
    if auth.identity_token:
        entry["identitytoken"] = auth.identity_token
    if auth.registry_token:
        entry["registrytoken"] = auth.registry_token
    key = "https://index.docker.io/v1/" if host == "docker.io" else host
    return {"auths": {key: entry}}


def pull_error(reference: str, complaint: str) -> CriError:
    """The registry's reason under the code that says what kind of failure it is."""
    text = complaint.lower()
    code = Code.UNKNOWN
    # A registry that asks for credentials does not say whether the image exists.
    if re.search(r"authoriz|denied|forbidden|\b40[13]\b", text):
        code = Code.PERMISSION_DENIED
    elif "not found" in text or "does not exist" in text:
        code = Code.NOT_FOUND
    elif any(
        word in text for word in ("no such host", "refused", "timeout", "unreachable", "dial")
    ):
        code = Code.UNAVAILABLE
    return CriError(code, f"failed to pull image {reference!r}: {complaint}")


def _image(image_id: str, entry: Mapping[str, Any]) -> cri.Image:
    layers = entry["Manifest"].get("layers") or ()
    image = cri.Image(id=image_id, size=sum(layer["size"] for layer in layers))
    user = _config(entry).get("User", "").partition(":")[0]
    if user.isdigit():
        image.uid.value = int(user)
    else:
        image.username = user
    image.spec.image = image_id
    return image


def _config(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    config: Mapping[str, Any] = entry["ImageConfig"].get("config") or {}
    return config


def data_root_of(option: str, state_dir: Path) -> str:
    """nerdctl's own files; inside the state directory unless told otherwise."""
    return option or os.path.join(state_dir, "nerdctl")
