"""What a watch cache holds: the objects of one resource, and the last changes. Synchronous.

`version` says how far it has come: every change up to it is in `objects`. `oldest` says from where
on the history is whole: a watch may resume after any version from `oldest` on.
"""

import logging
from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from typing import Any

from google.protobuf.message import DecodeError

from apiserver.storage.interface import Change, Changes, Page, Stored
from apiserver.storage.version import ObjectVersion, at_version, decode
from apiserver.verbs.interface import WatchEvent
from podpath.api.scheme import Resource

_LOG = logging.getLogger(__name__)

_WRITTEN_LIMIT = 1024


class Transition:
    """One change of one object: `old` is None for a new one, `new` for a deleted one.

    The event that it means to a watcher depends on whether both match its selectors; each of the
    possible events is made once, whoever gets it.
    """

    __slots__ = ("_added", "_deleted", "_modified", "key", "namespace", "new", "old", "version")

    def __init__(
        self, key: str, version: int, old: ObjectVersion | None, new: ObjectVersion | None
    ) -> None:
        self.key = key
        self.version = version
        self.old = old
        self.new = new
        some = new or old
        self.namespace: str = some.object.metadata.namespace if some else ""
        self._added: WatchEvent | None = None
        self._modified: WatchEvent | None = None
        self._deleted: WatchEvent | None = None

    def event(self, old_matches: bool, new_matches: bool) -> WatchEvent | None:
        """What a watcher is told, by whether its selection had the old and has the new object.

        Source: k8s.io/apiserver pkg/storage/cacher/cache_watcher.go, convertToWatchEvent.
        """
        if new_matches and old_matches:
            return self._modified_event()
        if new_matches:
            return self._added_event()
        if old_matches:
            return self._deleted_event()
        return None

    def _added_event(self) -> WatchEvent:
        if self._added is None:
            assert self.new is not None
            self._added = WatchEvent("ADDED", self.new)
        return self._added

    def _modified_event(self) -> WatchEvent:
        if self._modified is None:
            assert self.new is not None
            self._modified = WatchEvent("MODIFIED", self.new)
        return self._modified

    def _deleted_event(self) -> WatchEvent:
        """Carries the last state that the watcher knew, at the version of the change."""
        if self._deleted is None:
            assert self.old is not None
            self._deleted = WatchEvent("DELETED", at_version(self.old, self.version))
        return self._deleted


class CachedState:
    """Objects by key, keys in order, and a bounded history."""

    def __init__(self, resource: Resource[Any], history_limit: int) -> None:
        self._resource = resource
        self._history_limit = history_limit
        self._objects: dict[str, ObjectVersion] = {}
        self._keys: list[str] = []
        self._history: list[Transition] = []
        self._written: dict[str, ObjectVersion] = {}
        self.version = 0
        self.oldest = 0

    def get(self, key: str) -> ObjectVersion | None:
        return self._objects.get(key)

    def select(self, prefix: str, start: str = "") -> list[ObjectVersion]:
        """The objects under `prefix` in key order, from `start` on."""
        if prefix == self._resource.storage_prefix and not start:
            return [self._objects[key] for key in self._keys]
        first = bisect_left(self._keys, max(prefix, start))
        last = bisect_left(self._keys, prefix[:-1] + chr(ord(prefix[-1]) + 1))
        return [self._objects[key] for key in self._keys[first:last]]

    def since(self, version: int) -> Sequence[Transition]:
        """The changes after `version`, which must not be before `oldest`."""
        first = bisect_right(self._history, version, key=_version_of)
        return self._history[first:]

    def replace(self, page: Page) -> list[Transition]:
        """Starts anew from a list. Answers the differences; the history is empty afterwards."""
        before = self._objects
        self._objects = {}
        for stored in page.items:
            self._keep(stored)
        self._keys = sorted(self._objects)
        self._history = []
        self._written = {}
        self.version = self.oldest = page.version
        return _differences(before, self._objects, page.version)

    def apply(self, step: Changes) -> list[Transition]:
        """Takes in a step of the storage watch."""
        transitions = [self._apply(change) for change in step.changes]
        self._history += transitions
        self.version = step.version
        self._trim()
        return transitions

    def wrote(self, version: ObjectVersion) -> ObjectVersion:
        """This object was just stored: its event need not be decoded again, nor encoded.

        Answers the one to go on with: storage's event may have come before its answer.
        """
        meta = version.object.metadata
        key = self._resource.storage_key(meta.namespace, meta.name)
        if version.version > self.version:
            if len(self._written) >= _WRITTEN_LIMIT:
                self._written.clear()
            self._written[key] = version
            return version
        held = self._objects.get(key)
        return held if held is not None and held.version == version.version else version

    def known(self, stored: Stored) -> ObjectVersion | None:
        """The shared object for what storage holds; None if it cannot be decoded."""
        held = self._objects.get(stored.key)
        if held is not None and held.version == stored.version:
            return held
        try:
            return decode(self._resource, stored)
        except DecodeError:
            _LOG.exception(
                "an object in storage cannot be decoded: left out", extra={"key": stored.key}
            )
            return None

    def shows(self, page: Page) -> bool:
        """True when everything that led to this list of all objects has been taken in."""
        if self.version >= page.version:
            return True
        listed = {stored.key: stored.version for stored in page.items}
        return all(
            key in self._objects and self._objects[key].version >= version
            for key, version in listed.items()
        ) and all(
            key in listed or held.version > page.version for key, held in self._objects.items()
        )

    def _keep(self, stored: Stored) -> ObjectVersion | None:
        decoded = self.known(stored)
        if decoded is not None:
            self._objects[stored.key] = decoded
        return decoded

    def _apply(self, change: Change) -> Transition:
        key = change.key
        old = self._objects.pop(key, None)
        new = None
        if change.value is not None:
            written = self._written.pop(key, None)
            if written is not None and written.version == change.version:
                new = self._objects[key] = written
            else:
                new = self._keep(Stored(key, change.value, change.version))
        if old is None and new is not None:
            insort(self._keys, key)
        elif old is not None and new is None:
            del self._keys[bisect_left(self._keys, key)]
        return Transition(key, change.version, old, new)

    def _trim(self) -> None:
        # In large steps, so that the list is not moved for each change.
        excess = len(self._history) - self._history_limit
        if excess > self._history_limit // 4:
            self.oldest = self._history[excess - 1].version
            del self._history[:excess]


def _version_of(transition: Transition) -> int:
    return transition.version


def _differences(
    before: dict[str, ObjectVersion], after: dict[str, ObjectVersion], version: int
) -> list[Transition]:
    gone = [Transition(k, version, old, None) for k, old in before.items() if k not in after]
    changed = [
        Transition(k, new.version, before.get(k), new)
        for k, new in after.items()
        if k not in before or before[k].version != new.version
    ]
    return gone + changed
