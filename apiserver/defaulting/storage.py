"""Defaults of storage.k8s.io/v1.

Source: pkg/apis/storage/v1/defaults.go.
"""

from protos.k8s.storage_v1_pb2 import CSIDriver, StorageClass


def storage_class_defaults(storage_class: StorageClass) -> None:
    if not storage_class.HasField("reclaimPolicy"):
        storage_class.reclaimPolicy = "Delete"
    if not storage_class.HasField("volumeBindingMode"):
        storage_class.volumeBindingMode = "Immediate"


def csi_driver_defaults(driver: CSIDriver) -> None:
    spec = driver.spec
    for name, value in (
        ("attachRequired", True),
        ("podInfoOnMount", False),
        ("storageCapacity", False),
        ("requiresRepublish", False),
        ("seLinuxMount", False),
    ):
        if not spec.HasField(name):
            setattr(spec, name, value)
    if not spec.HasField("fsGroupPolicy"):
        spec.fsGroupPolicy = "ReadWriteOnceWithFSType"
    if not spec.volumeLifecycleModes:
        spec.volumeLifecycleModes.append("Persistent")
