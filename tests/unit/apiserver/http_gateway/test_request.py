"""Query parameters and their errors, by table."""

import pytest

from apiserver.http_gateway import request
from podpath.api.errors import ApiError
from protos.k8s.meta_v1_pb2 import DeleteOptions


def _error(query: str, read) -> ApiError:
    with pytest.raises(ApiError) as found:
        read(request.parse_query(query))
    return found.value


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("watch", True),
        ("watch=", True),
        ("watch=1", True),
        ("watch=true", True),
        ("watch=0", False),
        ("watch=false", False),
        ("", False),
    ],
)
def test_watch_flag(query: str, expected: bool):
    assert request.is_watch(request.parse_query(query)) is expected


def test_list_options():
    options = request.list_options(
        request.parse_query("limit=500&continue=abc&labelSelector=a%3Db&fieldSelector=x%3D1")
    )
    assert (options.limit, options.continue_token) == (500, "abc")
    assert (options.selectors.labels, options.selectors.fields) == ("a=b", "x=1")


@pytest.mark.parametrize(
    ("query", "code", "message"),
    [
        ("limit=abc", 400, 'strconv.ParseInt: parsing "abc": invalid syntax'),
        (
            "limit=99999999999999999999",
            400,
            'strconv.ParseInt: parsing "99999999999999999999": value out of range',
        ),
        (
            "resourceVersionMatch=Exact",
            422,
            'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: '
            "resourceVersionMatch is forbidden unless resourceVersion is provided",
        ),
        (
            "resourceVersion=0&resourceVersionMatch=Exact",
            422,
            'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: '
            'resourceVersionMatch "exact" is forbidden for resourceVersion "0"',
        ),
        (
            "sendInitialEvents=true",
            422,
            'ListOptions.meta.k8s.io "" is invalid: sendInitialEvents: Forbidden: '
            "sendInitialEvents is forbidden for list",
        ),
    ],
)
def test_bad_list_options(query: str, code: int, message: str):
    error = _error(query, request.list_options)
    assert (error.code, error.status.message) == (code, message)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("sendInitialEvents=true&allowWatchBookmarks=true", "resourceVersionMatch"),
        ("sendInitialEvents=true&resourceVersionMatch=NotOlderThan", "allowWatchBookmarks"),
        ("resourceVersion=5&resourceVersionMatch=NotOlderThan", "resourceVersionMatch"),
    ],
)
def test_bad_watch_options(query: str, field: str):
    error = _error(query, lambda q: request.watch_options(q, 1.0))
    assert (error.code, error.status.details.causes[0].field) == (422, field)


def test_watch_options():
    query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    options = request.watch_options(request.parse_query(query + "&timeoutSeconds=7"), 1800.0)
    assert (options.send_initial_events, options.allow_bookmarks) == (True, True)
    assert options.timeout_s == 7.0
    assert request.watch_options({}, 1800.0).timeout_s == 1800.0
    assert request.watch_options({}, 1.0, "x").selectors.fields == "metadata.name=x"


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (
            "dryRun=Some",
            'CreateOptions.meta.k8s.io "" is invalid: dryRun: '
            'Unsupported value: []string{"Some"}: supported values: "All"',
        ),
        (
            "fieldValidation=Maybe",
            'CreateOptions.meta.k8s.io "" is invalid: fieldValidation: '
            'Unsupported value: "Maybe": supported values: "", "Ignore", "Strict", "Warn"',
        ),
        (
            "fieldManager=" + "x" * 129,
            'CreateOptions.meta.k8s.io "" is invalid: fieldManager: '
            "Too long: may not be more than 128 bytes",
        ),
    ],
)
def test_bad_write_options(query: str, message: str):
    error = _error(query, lambda q: request.write_options(q, "CreateOptions"))
    assert (error.code, error.status.message) == (422, message)


@pytest.mark.parametrize(
    ("query", "patch_type", "message"),
    [
        pytest.param(
            "",
            "application/apply-patch+yaml",
            "fieldManager: Required value: is required for apply patch",
            id="an apply without a manager",
        ),
        pytest.param(
            "force=true&fieldManager=x",
            "application/merge-patch+json",
            "force: Forbidden: may not be specified for non-apply patch",
            id="force without apply",
        ),
    ],
)
def test_bad_patch_options(query: str, patch_type: str, message: str):
    error = _error(query, lambda q: request.patch_options(q, patch_type, "kubectl/v1"))
    assert error.status.message == f'PatchOptions.meta.k8s.io "" is invalid: {message}'


def test_write_options():
    query = request.parse_query("dryRun=All&fieldManager=me&fieldValidation=Strict&force=true")
    write = request.write_options(query, "PatchOptions")
    assert (write.options.dry_run, write.options.field_manager) == (True, "me")
    assert (write.options.force, write.field_validation) == (True, "Strict")
    unnamed = request.write_options({}, "CreateOptions", "kubectl/v1.33 (linux/amd64)")
    assert unnamed.options.field_manager == "kubectl"


def test_delete_options_come_from_body_and_query():
    query = request.parse_query("gracePeriodSeconds=0&propagationPolicy=Foreground&dryRun=All")
    options, dry_run = request.delete_options(query, None)
    assert (options.gracePeriodSeconds, options.propagationPolicy) == (0, "Foreground")
    assert dry_run
    body = DeleteOptions(gracePeriodSeconds=5)
    assert request.delete_options(query, body)[0].gracePeriodSeconds == 5
    assert body == DeleteOptions(gracePeriodSeconds=5)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("propagationPolicy=Sideways", 422),
        ("propagationPolicy=Orphan&orphanDependents=true", 422),
        ("gracePeriodSeconds=x", 400),
    ],
)
def test_bad_delete_options(query: str, code: int):
    assert _error(query, lambda q: request.delete_options(q, None)).code == code
