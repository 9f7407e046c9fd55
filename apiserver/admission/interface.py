"""What an admission plugin is.

Source: k8s.io/apiserver pkg/admission/interfaces.go.
"""

from dataclasses import dataclass
from typing import Protocol

from google.protobuf.message import Message

from apiserver.verbs.interface import Target, UserInfo


@dataclass(frozen=True, slots=True)
class Attributes:
    """The request under admission.

    `operation` is CREATE, UPDATE, DELETE or CONNECT. `object` may be changed by mutating plugins
    only; it is None for DELETE. `old_object` is None for CREATE and never changed.
    """

    user: UserInfo
    target: Target
    operation: str
    object: Message | None
    old_object: Message | None
    dry_run: bool = False


class Plugin(Protocol):
    """Named; asked only for what `handles` says."""

    @property
    def name(self) -> str: ...

    def handles(self, attributes: Attributes) -> bool: ...


class MutatingPlugin(Plugin, Protocol):
    async def admit(self, attributes: Attributes) -> None:
        """Changes `attributes.object` in place, or raises ApiError (Forbidden) to reject."""


class ValidatingPlugin(Plugin, Protocol):
    async def validate(self, attributes: Attributes) -> None:
        """Raises ApiError (Forbidden) to reject."""
