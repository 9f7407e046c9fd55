"""The fake engine's images: any reference can be pulled; what was pulled is there.
They are not kept over a restart of the shim, as nothing was really stored.
"""

import hashlib
from collections.abc import Sequence

from podpath.component_base.clock import Clock
from protos.cri import runtime_v1_pb2 as cri
from runtime_shim.errors import Code, CriError
from runtime_shim.image_reference import normalize

FAIL_PULL = "fake.podpath.io/fail-pull"
IMAGE_BYTES = 2 << 20


class FakeImages:
    """The `Images` part of the fake backend."""

    def __init__(self, clock: Clock) -> None:
        self._images: dict[str, cri.Image] = {}

    async def images(self) -> Sequence[cri.Image]:
        return list({image.id: image for image in self._images.values()}.values())

    async def image(self, reference: str) -> cri.Image | None:
        return self._known(reference)

    async def pull_image(
        self, spec: cri.ImageSpec, auth: cri.AuthConfig, sandbox: cri.PodSandboxConfig
    ) -> str:
        if failure := sandbox.annotations.get(FAIL_PULL):
            raise CriError(Code.UNKNOWN, failure)
        return self._add(spec.image).id

    async def remove_image(self, image: cri.Image) -> None:
        for name in [n for n, known in self._images.items() if known.id == image.id]:
            del self._images[name]

    async def image_fs(self) -> cri.ImageFsInfoResponse:
        used = cri.FilesystemUsage(
            fs_id=cri.FilesystemIdentifier(mountpoint="/"),
            used_bytes=cri.UInt64Value(value=IMAGE_BYTES * len(self._images)),
            inodes_used=cri.UInt64Value(value=len(self._images)),
        )
        return cri.ImageFsInfoResponse(image_filesystems=[used], container_filesystems=[used])

    def _known(self, reference: str) -> cri.Image | None:
        if found := self._images.get(reference):
            return found
        name = normalize(reference)
        return self._images.get(name)

    def _add(self, reference: str) -> cri.Image:
        name = normalize(reference)
        if known := self._images.get(name):
            return known
        repository, _, digest = name.partition("@")
        if not digest:
            repository = name.rpartition(":")[0]
            digest = "sha256:" + hashlib.sha256(name.encode()).hexdigest()
        image_id = "sha256:" + hashlib.sha256(digest.encode()).hexdigest()
        image = cri.Image(id=image_id, repo_digests=[f"{repository}@{digest}"], size=IMAGE_BYTES)
        if "@" not in name:
            image.repo_tags.append(name)
        image.spec.image = name
        for key in (name, image_id, f"{repository}@{digest}"):
            self._images[key] = image
        return image
