"""What the verbs work with."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from apiserver.admission.chain import Chain
from apiserver.authorization.interface import Authorizer
from apiserver.caches import Caches
from apiserver.registry.registry import Registry
from apiserver.registry.subresources import Handlers
from apiserver.storage.interface import Storage
from apiserver.verbs.creation import NO_TRACING, Creation, Tracing, begin
from apiserver.verbs.interface import Target, UserInfo, WriteOptions
from podpath.component_base.clock import Clock

# Source: k8s.io/apiserver pkg/storage/names/generate.go, k8s.io/apimachinery pkg/util/rand.
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_SUFFIX_LENGTH = 5
_BASE_LENGTH_MAX = 58
GENERATED_NAME_ATTEMPTS_MAX = 8


def random_uid() -> str:
    return str(uuid.uuid4())


@dataclass(frozen=True, slots=True)
class Context:
    """The parts of the API server that a verb calls."""

    registry: Registry
    caches: Caches
    storage: Storage
    admission: Chain
    authorizer: Authorizer
    handlers: Handlers
    clock: Clock
    new_uid: Callable[[], str] = random_uid
    random: Random = field(default_factory=Random)
    tracing: Tracing = NO_TRACING

    def begin(self, user: UserInfo, target: Target, options: WriteOptions) -> Creation:
        """What the request will create, with the uid that it will have."""
        return begin(self.new_uid(), user, target, options, self.tracing)

    def generated_name(self, base: str) -> str:
        """`base`, cut to 58 characters, and five random ones."""
        suffix = "".join(self.random.choices(_ALPHABET, k=_SUFFIX_LENGTH))
        return base[:_BASE_LENGTH_MAX] + suffix


def copy_of(obj: Any) -> Any:
    """A copy that may be changed."""
    copy = type(obj)()
    copy.CopyFrom(obj)
    return copy
