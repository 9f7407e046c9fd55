"""Query parameters of a request, read as Kubernetes reads them, with its errors.

Source: k8s.io/apimachinery pkg/apis/meta/v1/conversion.go, pkg/apis/meta/v1/validation,
pkg/apis/meta/internalversion/validation.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from apiserver.http_gateway.negotiation import APPLY_PATCH
from apiserver.verbs.interface import (
    DEFAULT_WRITE,
    ListOptions,
    Selectors,
    WatchOptions,
    WriteOptions,
)
from podpath.api import errors
from podpath.api.errors import FieldError
from protos.k8s.meta_v1_pb2 import DeleteOptions

FIELD_VALIDATIONS = ("Ignore", "Strict", "Warn")
_MANAGER_LENGTH_MAX = 128
_INTEGER = re.compile(r"[+-]?[0-9]+")
_INT64_LIMIT = 1 << 63

Query = Mapping[str, list[str]]
_EMPTY: Query = {}


def parse_query(text: str) -> Query:
    """Every value of every parameter, in order; blank values are kept."""
    if not text:
        return _EMPTY
    query: dict[str, list[str]] = {}
    for key, value in parse_qsl(text, keep_blank_values=True):
        query.setdefault(key, []).append(value)
    return query


def first(query: Query, name: str) -> str:
    values = query.get(name)
    return values[0] if values else ""


def boolean(query: Query, name: str) -> bool:
    """Present without a value counts as true, as does anything but `false` and `0`."""
    values = query.get(name)
    return values is not None and values[0].lower() not in ("false", "0")


def integer(query: Query, name: str) -> int | None:
    """None when absent. Raises: BadRequest in Go's words."""
    text = first(query, name)
    if not text:
        return None
    if not _INTEGER.fullmatch(text):
        raise errors.bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    value = int(text)
    if not -_INT64_LIMIT <= value < _INT64_LIMIT:
        raise errors.bad_request(f'strconv.ParseInt: parsing "{text}": value out of range')
    return value


def is_watch(query: Query) -> bool:
    return "watch" in query and boolean(query, "watch")


def selectors(query: Query, name: str = "") -> Selectors:
    """`name` is the object a legacy single-object watch asks for."""
    fields = first(query, "fieldSelector")
    if name:
        fields = f"metadata.name={name}" + (f",{fields}" if fields else "")
    return Selectors(first(query, "labelSelector"), fields)


def list_options(query: Query) -> ListOptions:
    """Raises: BadRequest, Invalid."""
    if not query:
        return ListOptions()
    options = ListOptions(
        selectors=selectors(query),
        limit=integer(query, "limit") or 0,
        continue_token=first(query, "continue"),
        resource_version=first(query, "resourceVersion"),
        resource_version_match=first(query, "resourceVersionMatch"),
    )
    _raise_invalid("ListOptions", _list_errors(query, options))
    return options


def watch_options(query: Query, timeout_s: float, name: str = "") -> WatchOptions:
    """`timeout_s` is used when the client gives none. Raises: BadRequest, Invalid."""
    options = WatchOptions(
        selectors=selectors(query, name),
        resource_version=first(query, "resourceVersion"),
        send_initial_events=boolean(query, "sendInitialEvents"),
        resource_version_match=first(query, "resourceVersionMatch"),
        allow_bookmarks=boolean(query, "allowWatchBookmarks"),
        timeout_s=float(integer(query, "timeoutSeconds") or 0) or timeout_s,
    )
    _raise_invalid("ListOptions", _watch_errors(query, options))
    return options


def _list_errors(query: Query, options: ListOptions) -> list[FieldError]:
    found = []
    if "sendInitialEvents" in query:
        text = "sendInitialEvents is forbidden for list"
        found.append(errors.forbidden_field("sendInitialEvents", text))
    match = options.resource_version_match
    if not match:
        return found
    if not options.resource_version:
        text = "resourceVersionMatch is forbidden unless resourceVersion is provided"
        found.append(errors.forbidden_field("resourceVersionMatch", text))
    if options.continue_token:
        text = "resourceVersionMatch is forbidden when continue is provided"
        found.append(errors.forbidden_field("resourceVersionMatch", text))
    if match not in ("Exact", "NotOlderThan"):
        supported = ("Exact", "NotOlderThan", "")
        found.append(errors.not_supported("resourceVersionMatch", match, supported))
    elif match == "Exact" and options.resource_version == "0":
        text = 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
        found.append(errors.forbidden_field("resourceVersionMatch", text))
    return found


def _watch_errors(query: Query, options: WatchOptions) -> list[FieldError]:
    found = []
    match = options.resource_version_match
    if "sendInitialEvents" in query:
        if match != "NotOlderThan":
            text = 'sendInitialEvents requires setting resourceVersionMatch to "NotOlderThan"'
            found.append(errors.forbidden_field("resourceVersionMatch", text))
        if not options.allow_bookmarks and options.send_initial_events:
            text = "sendInitialEvents requires setting allowWatchBookmarks to true"
            found.append(errors.forbidden_field("allowWatchBookmarks", text))
    elif match:
        text = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
        found.append(errors.forbidden_field("resourceVersionMatch", text))
    return found


@dataclass(frozen=True, slots=True)
class Write:
    """How to write: the verbs' options and how strictly the body is read."""

    options: WriteOptions
    field_validation: str = "Warn"


_PLAIN_WRITE = Write(DEFAULT_WRITE)


def write_options(query: Query, kind: str, user_agent: str = "", traceparent: str = "") -> Write:
    """`kind` is CreateOptions, UpdateOptions or PatchOptions. Raises: Invalid.

    Without a field manager the client program's name stands in, as upstream has it.
    """
    if not (query or user_agent or traceparent):
        return _PLAIN_WRITE
    dry_run = query.get("dryRun", [])
    manager = first(query, "fieldManager")
    validation = first(query, "fieldValidation") or "Warn"
    found = _dry_run_errors(dry_run) + _manager_errors(manager)
    if validation not in FIELD_VALIDATIONS:
        supported = ("", *FIELD_VALIDATIONS)
        found.append(errors.not_supported("fieldValidation", validation, supported))
    _raise_invalid(kind, found)
    options = WriteOptions(
        dry_run=bool(dry_run),
        field_manager=manager or manager_of(user_agent),
        force=boolean(query, "force"),
        traceparent=traceparent,
    )
    return Write(options, validation)


def patch_options(
    query: Query, patch_type: str, user_agent: str = "", traceparent: str = ""
) -> Write:
    """Of a PATCH: an apply names its manager, others are never forced. Raises: Invalid."""
    write = write_options(query, "PatchOptions", user_agent, traceparent)
    found = []
    if patch_type == APPLY_PATCH:
        if not first(query, "fieldManager"):
            found.append(errors.required("fieldManager", "is required for apply patch"))
    elif "force" in query:
        found.append(errors.forbidden_field("force", "may not be specified for non-apply patch"))
    _raise_invalid("PatchOptions", found)
    return write


def manager_of(user_agent: str) -> str:
    """`kubectl/v1.32 (linux/amd64)` -> `kubectl`."""
    return user_agent.split("/", 1)[0][:_MANAGER_LENGTH_MAX]


def _dry_run_errors(values: list[str]) -> list[FieldError]:
    if all(value == "All" for value in values):
        return []
    listed = ", ".join(f'"{value}"' for value in values)
    message = f'Unsupported value: []string{{{listed}}}: supported values: "All"'
    return [FieldError("FieldValueNotSupported", "dryRun", message)]


def _manager_errors(manager: str) -> list[FieldError]:
    if len(manager) > _MANAGER_LENGTH_MAX:
        return [errors.too_long("fieldManager", _MANAGER_LENGTH_MAX)]
    if not manager.isprintable():
        return [errors.invalid("fieldManager", manager, "should only contain printable characters")]
    return []


def delete_options(query: Query, body: DeleteOptions | None) -> tuple[DeleteOptions, bool]:
    """Body and query together (the body wins), and whether it is a dry run.

    Raises: BadRequest, Invalid.
    """
    options = DeleteOptions()
    if body is not None:
        options.CopyFrom(body)
    if query:
        _fill_from_query(query, options)
    found = _dry_run_errors(list(options.dryRun))
    propagation = options.propagationPolicy
    if options.HasField("propagationPolicy") and propagation not in (
        "Background",
        "Foreground",
        "Orphan",
    ):
        supported = ("Background", "Foreground", "Orphan", "nil")
        found.append(errors.not_supported("propagationPolicy", propagation, supported))
    if options.HasField("propagationPolicy") and options.HasField("orphanDependents"):
        text = "orphanDependents and deletionPropagation cannot be both set"
        found.append(errors.invalid("propagationPolicy", propagation, text))
    _raise_invalid("DeleteOptions", found)
    return options, bool(options.dryRun)


def _fill_from_query(query: Query, options: DeleteOptions) -> None:
    grace = integer(query, "gracePeriodSeconds")
    if grace is not None and not options.HasField("gracePeriodSeconds"):
        options.gracePeriodSeconds = grace
    propagation = first(query, "propagationPolicy")
    if propagation and not options.HasField("propagationPolicy"):
        options.propagationPolicy = propagation
    if "orphanDependents" in query and not options.HasField("orphanDependents"):
        options.orphanDependents = boolean(query, "orphanDependents")
    if not options.dryRun:
        options.dryRun.extend(query.get("dryRun", []))


def _raise_invalid(kind: str, found: list[FieldError]) -> None:
    if found:
        raise errors.invalid_object("meta.k8s.io", kind, "", found)
