"""The arithmetic of versions, `mod_revision << 7 | index`: docs/adr/0001-resource-version.md."""

_INDEX_BITS = 7

MAX_GROUP = 127
"""Members of one commit group: etcd's --max-txn-ops (128) less one, and indexes 0..126."""

WHOLE_REVISION = (1 << _INDEX_BITS) - 1
"""The index of lists and bookmarks: above every member of the revision."""


def compose(revision: int, index: int) -> int:
    """The version of member `index` of the group that etcd committed at `revision`."""
    return revision << _INDEX_BITS | index


def whole(revision: int) -> int:
    """The version of a list or bookmark that shows all of `revision`."""
    return compose(revision, WHOLE_REVISION)


def revision_of(version: int) -> int:
    """etcd's revision: what etcdctl understands."""
    return version >> _INDEX_BITS


def index_of(version: int) -> int:
    """The place in the group; WHOLE_REVISION for lists and bookmarks."""
    return version & WHOLE_REVISION


def watch_from(version: int) -> int:
    """The first etcd revision that may hold something after `version`."""
    if index_of(version) == WHOLE_REVISION:
        return revision_of(version) + 1
    return max(1, revision_of(version))


def deletion_index(ordinal: int) -> int:
    """The index of the `ordinal`-th deletion of one revision: a lease's end deletes many keys."""
    return min(ordinal, MAX_GROUP - 1)
