"""Accept and Content-Type, by table."""

import pytest

from apiserver.http_gateway import negotiation
from apiserver.http_gateway.negotiation import JSON, PROTOBUF, YAML
from podpath.api.errors import ApiError

_TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


@pytest.mark.parametrize(
    ("accept", "media_type", "convert"),
    [
        ("", JSON, ""),
        ("*/*", JSON, ""),
        ("application/*", JSON, ""),
        ("application/json", JSON, ""),
        ("application/yaml", YAML, ""),
        ("application/vnd.kubernetes.protobuf,application/json", PROTOBUF, ""),
        ("text/html, application/json;q=0.5", JSON, ""),
        ("application/json;q=0.5,application/yaml", YAML, ""),
        (f"{_TABLE},application/json", JSON, "Table"),
        ("application/json;as=Nothing;v=v1;g=meta.k8s.io,application/yaml", YAML, ""),
        (
            "application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io,application/json",
            JSON,
            "",
        ),
        (
            "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
            PROTOBUF,
            "PartialObjectMetadata",
        ),
    ],
)
def test_accept(accept: str, media_type: str, convert: str):
    found = negotiation.output(accept)
    assert (found.media_type, found.convert) == (media_type, convert)


def test_not_acceptable():
    with pytest.raises(ApiError) as found:
        negotiation.output("text/html")
    assert (found.value.code, found.value.status.message) == (
        406,
        "only the following media types are accepted: application/json, application/yaml, "
        "application/vnd.kubernetes.protobuf",
    )


def test_what_has_no_table_is_not_made_into_one():
    with pytest.raises(ApiError) as found:
        negotiation.output(_TABLE, converts=False)
    assert found.value.code == 406
    assert negotiation.output(f"{_TABLE},application/json", converts=False).convert == ""


def test_a_watch_is_never_yaml():
    assert negotiation.stream_output("application/json;stream=watch").media_type == JSON
    with pytest.raises(ApiError) as found:
        negotiation.stream_output("application/yaml")
    assert found.value.code == 406


def test_bodies():
    assert negotiation.body_type("") == JSON
    assert negotiation.body_type("application/json; charset=utf-8") == JSON
    with pytest.raises(ApiError) as found:
        negotiation.body_type("text/plain")
    assert (found.value.code, found.value.reason) == (415, "UnsupportedMediaType")
    assert found.value.status.message.startswith(
        "the body of the request was in an unknown format - accepted media types include: "
    )


def test_patch_types():
    kept = "application/merge-patch+json"
    assert negotiation.patch_type(kept + "; charset=utf-8") == kept
    with pytest.raises(ApiError) as found:
        negotiation.patch_type("application/json")
    assert found.value.code == 415
