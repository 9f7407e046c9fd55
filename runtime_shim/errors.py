"""What a CRI call can fail with, without gRPC: the door translates, in-memory callers need not."""

from enum import IntEnum


class Code(IntEnum):
    """gRPC's status codes, by gRPC's numbers."""

    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14


MAX_MESSAGE_CHARACTERS = 1500
"""Messages quote what was asked for; gRPC carries them in headers, which are limited to 8 KiB."""


class CriError(Exception):
    """A CRI call's failure: what went wrong, with which object, and what was expected."""

    def __init__(self, code: Code, message: str) -> None:
        if len(message) > MAX_MESSAGE_CHARACTERS:
            half = MAX_MESSAGE_CHARACTERS // 2
            message = f"{message[:half]} ... {message[-half:]}"
        super().__init__(message)
        self.code = code
        self.message = message


def not_found(kind: str, name: str) -> CriError:
    """`kind` is "sandbox", "container" or "image"."""
    return CriError(Code.NOT_FOUND, f"{kind} {name!r} is not known to this runtime")


def invalid(message: str) -> CriError:
    return CriError(Code.INVALID_ARGUMENT, message)


def precondition(message: str) -> CriError:
    return CriError(Code.FAILED_PRECONDITION, message)


def unimplemented(message: str) -> CriError:
    return CriError(Code.UNIMPLEMENTED, message)


def code_and_message(error: Exception) -> tuple[str, str] | None:
    """("NOT_FOUND", message) of a CriError, None of anything else: for in-memory callers."""
    return (error.code.name, error.message) if isinstance(error, CriError) else None
