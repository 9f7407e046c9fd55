"""Sets up a Pod's volumes and tells where they are on the host.

emptyDir (also on tmpfs), configMap, secret, projected, downwardAPI and hostPath are served; any
other kind fails with an error that names it.

Source: pkg/kubelet/volumemanager, pkg/kubelet/kubelet_pods.go (makeMounts).
"""

from collections.abc import Mapping, Sequence

from kubelet.environment import EnvironmentInput, expand_references, expander
from kubelet.objects import PodObjects
from kubelet.pod_dirs import PodFiles
from kubelet.volume_payload import VolumeError, VolumeObjects, needs_of, payload_of
from podpath.api import quantity
from podpath.api.errors import ApiError
from podpath.component_base.clock import Clock
from podpath.component_base.pod_trace import PodStep, stamp
from protos.cri import runtime_v1_pb2 as cri
from protos.k8s import core_v1_pb2 as core

_PLUGINS = {
    "emptyDir": "kubernetes.io/empty-dir",
    "configMap": "kubernetes.io/configmap",
    "secret": "kubernetes.io/secret",
    "projected": "kubernetes.io/projected",
    "downwardAPI": "kubernetes.io/downward-api",
}
_PROPAGATION = {
    "": cri.PROPAGATION_PRIVATE,
    "None": cri.PROPAGATION_PRIVATE,
    "HostToContainer": cri.PROPAGATION_HOST_TO_CONTAINER,
    "Bidirectional": cri.PROPAGATION_BIDIRECTIONAL,
}
Paths = Mapping[str, str]


class Volumes:
    """Volumes of the Pods of one node."""

    def __init__(self, files: PodFiles, objects: PodObjects, clock: Clock) -> None:
        self._files = files
        self._objects = objects
        self._clock = clock
        self._ready: set[str] = set()

    async def set_up(self, given: EnvironmentInput) -> Paths:
        """Makes or refreshes all volumes of the Pod. Idempotent. Raises: VolumeError.

        Returns the host path of each volume by its name.
        """
        pod = given.pod
        try:
            needs = needs_of(pod.spec.volumes)
            objects = await self._objects.for_volumes(pod, needs)
            paths = {v.name: self._set_up_one(v, objects, given) for v in pod.spec.volumes}
        except (ApiError, OSError) as error:
            raise VolumeError(str(error)) from error
        uid = pod.metadata.uid
        if uid not in self._ready:
            self._ready.add(uid)
            stamp(PodStep.VOLUMES_READY, uid, f"{len(paths)} volumes", pod.metadata.annotations)
        return paths

    def forget(self, uid: str) -> None:
        self._ready.discard(uid)
        self._objects.tokens.forget_pod(uid)

    def _set_up_one(
        self, volume: core.Volume, objects: VolumeObjects, given: EnvironmentInput
    ) -> str:
        source = volume.volumeSource
        pod = given.pod
        context = pod.spec.securityContext
        group = context.fsGroup if context.HasField("fsGroup") else None
        if source.HasField("hostPath"):
            self._files.check_host_path(source.hostPath.path, source.hostPath.type)
            return source.hostPath.path
        kind = next((kind for kind in _PLUGINS if source.HasField(kind)), None)
        if kind is None:
            chosen = source.ListFields()
            named = chosen[0][0].name if chosen else "without a source"
            raise VolumeError(
                f'volume "{volume.name}": volumes of kind {named} are not supported by this kubelet'
            )
        path = self._files.volume_path(pod.metadata.uid, _PLUGINS[kind], volume.name)
        if kind == "emptyDir":
            empty = source.emptyDir
            self._files.make_empty_dir(
                path,
                memory=empty.medium == "Memory",
                size_bytes=quantity.value(empty.sizeLimit.string),
                group=group,
            )
            return path
        payload = payload_of(volume, objects, given)
        if payload is None:
            raise VolumeError(f'volume "{volume.name}" has no files')
        self._files.write_payload(path, payload, self._clock.now(), group)
        return path


def mounts_of(
    container: core.Container,
    paths: Paths,
    environment: Mapping[str, str],
    files: PodFiles,
) -> list[cri.Mount]:
    """The container's volume mounts for CRI.

    Raises: VolumeError.
    """
    if container.volumeDevices:
        raise VolumeError("block volumes (volumeDevices) are not supported by this kubelet")
    expand = expander(environment)
    mounts = []
    for mount in container.volumeMounts:
        if mount.name not in paths:
            raise VolumeError(
                f'volume "{mount.name}" of container "{container.name}" is not set up'
            )
        host = paths[mount.name]
        sub = mount.subPath or expand_references(mount.subPathExpr, expand)
        if sub:
            host = files.sub_path(host, sub)
        at = mount.mountPath if mount.mountPath.startswith("/") else f"/{mount.mountPath}"
        mounts.append(
            cri.Mount(
                container_path=at,
                host_path=host,
                readonly=mount.readOnly,
                propagation=_PROPAGATION[mount.mountPropagation],
                recursive_read_only=mount.recursiveReadOnly == "Enabled",
            )
        )
    return mounts


def etc_hosts(pod: core.Pod, ips: Sequence[str], hostname: str, domain: str) -> str:
    """The text of /etc/hosts of a Pod with its own network."""
    lines = [
        "# Kubernetes-managed hosts file.",
        "127.0.0.1\tlocalhost",
        "::1\tlocalhost ip6-localhost ip6-loopback",
        "fe00::0\tip6-localnet",
        "fe00::0\tip6-mcastprefix",
        "fe00::1\tip6-allnodes",
        "fe00::2\tip6-allrouters",
    ]
    for ip in ips:
        full = f"{hostname}.{domain}\t" if domain else ""
        lines.append(f"{ip}\t{full}{hostname}")
    text = "\n".join(lines) + "\n"
    return text + host_alias_lines(pod)


def host_alias_lines(pod: core.Pod) -> str:
    if not pod.spec.hostAliases:
        return ""
    lines = ["", "# Entries added by HostAliases."]
    lines += ["\t".join((alias.ip, *alias.hostnames)) for alias in pod.spec.hostAliases]
    return "\n".join(lines) + "\n"
