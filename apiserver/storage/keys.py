"""Keys and ranges of keys, as upstream lays them out: `/registry/PLURAL/[NAMESPACE/]NAME`.

Source: k8s.io/apiserver pkg/storage/etcd3; `Resource.storage_key` makes the keys themselves.
"""


def prefix_end(prefix: bytes) -> bytes:
    """The first key after all keys that start with `prefix`, as etcd's `range_end` wants it."""
    stripped = prefix.rstrip(b"\xff")
    if not stripped:
        return b"\0"  # etcd's way to say: to the very end
    return stripped[:-1] + bytes([stripped[-1] + 1])


def successor(key: str) -> str:
    """The smallest key after `key`."""
    return key + "\0"


def name_of(key: str) -> str:
    """The last part of a key: the object's name."""
    return key.rpartition("/")[2]
