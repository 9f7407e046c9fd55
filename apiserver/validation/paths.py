"""Paths inside volumes.

Source: pkg/apis/core/validation/validation.go (ValidateLocalNonReservedPath and its parts).
"""

from podpath.api.errors import FieldError, invalid

FILE_MODE = "must be a number between 0 and 0777 (octal), both inclusive"


def no_backsteps(value: str, path: str) -> list[FieldError]:
    if ".." in value.split("/"):
        return [invalid(path, value, "must not contain '..'")]
    return []


def descending(value: str, path: str) -> list[FieldError]:
    found = []
    if value.startswith("/"):
        found.append(invalid(path, value, "must be a relative path"))
    return found + no_backsteps(value, path)


def not_reserved(value: str, path: str) -> list[FieldError]:
    found = descending(value, path)
    if value.startswith("..") and not value.startswith("../"):
        found.append(invalid(path, value, "must not start with '..'"))
    return found


def file_mode(value: int, path: str) -> list[FieldError]:
    return [] if 0 <= value <= 0o777 else [invalid(path, value, FILE_MODE)]
