"""Gives each Pod a ServiceAccount and mounts its token.

Source: k8s.io/kubernetes plugin/pkg/admission/serviceaccount/admission.go.
"""

import random

from apiserver.admission.interface import Attributes
from apiserver.admission.pods import containers, is_mirror, is_pod, pod_of
from apiserver.admission.rejection import forbidden
from apiserver.admission.service_account_secrets import secret_violation
from apiserver.authorization.node_graph import secret_names
from apiserver.lister import Lister
from podpath.api import scheme
from podpath.component_base.clock import Clock
from protos.k8s.core_v1_pb2 import (
    ConfigMapProjection,
    DownwardAPIProjection,
    DownwardAPIVolumeFile,
    KeyToPath,
    LocalObjectReference,
    ObjectFieldSelector,
    Pod,
    ProjectedVolumeSource,
    ServiceAccount,
    ServiceAccountTokenProjection,
    Volume,
    VolumeMount,
    VolumeProjection,
    VolumeSource,
)

DEFAULT_ACCOUNT = "default"
MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
VOLUME_PREFIX = "kube-api-access-"
TOKEN_EXPIRATION_S = 3607  # an hour and what tells such tokens apart from others
DEFAULT_MODE = 0o644
DEFAULT_ACCOUNT_ATTEMPTS_MAX = 10  # its controller makes it soon after its namespace
_RETRY_S = (0.1, 0.2)
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


class ServiceAccountAdmission:
    """Mutating and validating."""

    name = "ServiceAccount"

    def __init__(self, lister: Lister, clock: Clock, chance: random.Random) -> None:
        self._lister = lister
        self._clock = clock
        self._chance = chance

    def handles(self, attributes: Attributes) -> bool:
        return is_pod(attributes)

    async def admit(self, attributes: Attributes) -> None:
        pod = pod_of(attributes)
        if is_mirror(pod):  # the kubelet compares it with its file
            return
        spec = pod.spec
        if not spec.serviceAccountName:
            spec.serviceAccountName = DEFAULT_ACCOUNT
        spec.serviceAccount = spec.serviceAccountName  # the field's old name
        account = await self._find(attributes, spec.serviceAccountName)
        if _should_mount(account, pod):
            self._mount(pod)
        if not spec.imagePullSecrets:
            spec.imagePullSecrets.extend(account.imagePullSecrets)

    async def validate(self, attributes: Attributes) -> None:
        pod = pod_of(attributes)
        if is_mirror(pod):
            _check_mirror(attributes, pod)
            return
        account = await self._find(attributes, pod.spec.serviceAccountName)
        violation = secret_violation(account, pod)
        if violation:
            raise forbidden(attributes, violation)

    async def _find(self, attributes: Attributes, name: str) -> ServiceAccount:
        namespace = attributes.target.namespace
        found = self._lister.get(scheme.SERVICEACCOUNTS, namespace, name)
        attempts = DEFAULT_ACCOUNT_ATTEMPTS_MAX if name == DEFAULT_ACCOUNT else 1
        for attempt in range(attempts):
            if found is not None:
                return found
            if attempt:
                await self._clock.sleep(self._chance.uniform(*_RETRY_S))
            found = await self._lister.get_live(scheme.SERVICEACCOUNTS, namespace, name)
        if found is not None:
            return found
        raise forbidden(
            attributes,
            f"error looking up service account {namespace}/{name}: "
            f'serviceaccount "{name}" not found',
        )

    def _mount(self, pod: Pod) -> None:
        """Mounts the token in every container that has nothing at its path."""
        existing = [v.name for v in pod.spec.volumes if v.name.startswith(VOLUME_PREFIX)]
        name = existing[0] if existing else self._volume_name()
        needed = False
        for _, container in containers(pod):
            if any(mount.mountPath == MOUNT_PATH for mount in container.volumeMounts):
                continue
            container.volumeMounts.append(
                VolumeMount(name=name, readOnly=True, mountPath=MOUNT_PATH)
            )
            needed = True
        if needed and not existing:
            pod.spec.volumes.append(token_volume(name))

    def _volume_name(self) -> str:
        return VOLUME_PREFIX + "".join(self._chance.choices(_ALPHABET, k=5))


def _should_mount(account: ServiceAccount, pod: Pod) -> bool:
    """The Pod's word counts before the account's."""
    if pod.spec.HasField("automountServiceAccountToken"):
        return pod.spec.automountServiceAccountToken
    if account.HasField("automountServiceAccountToken"):
        return account.automountServiceAccountToken
    return True


def token_volume(name: str) -> Volume:
    """The volume with token, ca.crt and namespace."""
    token = ServiceAccountTokenProjection(path="token", expirationSeconds=TOKEN_EXPIRATION_S)
    authority = ConfigMapProjection(
        localObjectReference=LocalObjectReference(name="kube-root-ca.crt"),
        items=[KeyToPath(key="ca.crt", path="ca.crt")],
    )
    field = ObjectFieldSelector(apiVersion="v1", fieldPath="metadata.namespace")
    namespace = DownwardAPIProjection(
        items=[DownwardAPIVolumeFile(path="namespace", fieldRef=field)]
    )
    projected = ProjectedVolumeSource(
        sources=[
            VolumeProjection(serviceAccountToken=token),
            VolumeProjection(configMap=authority),
            VolumeProjection(downwardAPI=namespace),
        ],
        defaultMode=DEFAULT_MODE,
    )
    return Volume(name=name, volumeSource=VolumeSource(projected=projected))


def _check_mirror(attributes: Attributes, pod: Pod) -> None:
    """A mirror Pod only shows what runs already: it must not draw secrets onto the node."""
    if pod.spec.serviceAccountName:
        raise forbidden(attributes, "a mirror pod may not reference service accounts")
    if any(True for _ in secret_names(pod)):
        raise forbidden(attributes, "a mirror pod may not reference secrets")
    for volume in pod.spec.volumes:
        for source in volume.volumeSource.projected.sources:
            if source.HasField("serviceAccountToken"):
                cause = "a mirror pod may not use ServiceAccountToken volume projections"
                raise forbidden(attributes, cause)
