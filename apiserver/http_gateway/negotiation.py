"""Which encoding a response has and a body comes in.

Source: k8s.io/apiserver pkg/endpoints/handlers/negotiation.
"""

from dataclasses import dataclass
from functools import lru_cache

from podpath.api import errors

JSON = "application/json"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"
MEDIA_TYPES = (JSON, YAML, PROTOBUF)
STREAM_TYPES = (JSON, PROTOBUF)

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
PATCH_TYPES = (JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, APPLY_PATCH)

TABLE = "Table"
PARTIAL = "PartialObjectMetadata"
PARTIAL_LIST = "PartialObjectMetadataList"
_META_VERSIONS = ("v1", "v1beta1")
_HEADERS_CACHED_MAX = 512


@dataclass(frozen=True, slots=True)
class Output:
    """How to write a response: media type, and the kind to convert to ("" for none)."""

    media_type: str
    convert: str = ""
    convert_version: str = ""


@dataclass(frozen=True, slots=True)
class Clause:
    """One alternative of an Accept header, with its parameters except `q`."""

    media_type: str
    parameters: tuple[tuple[str, str], ...]

    def get(self, name: str) -> str:
        return next((value for key, value in self.parameters if key == name), "")


_PLAIN_JSON = Output(JSON)


@lru_cache(_HEADERS_CACHED_MAX)
def clauses(accept: str) -> tuple[Clause, ...]:
    """The alternatives of an Accept header, the most wanted first."""
    weighted: list[tuple[float, Clause]] = []
    for part in accept.split(","):
        media_type, *parameters = (piece.strip() for piece in part.split(";"))
        pairs = [tuple(p.split("=", 1)) for p in parameters if "=" in p]
        weight = 1.0
        for pair in pairs:
            if pair[0] == "q":
                weight = _weight(pair[1])
        kept = tuple((key.strip(), value.strip()) for key, value in pairs if key != "q")
        if media_type:
            weighted.append((weight, Clause(media_type.lower(), kept)))
    weighted.sort(key=lambda item: -item[0])
    return tuple(clause for _, clause in weighted)


def _weight(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 1.0


@lru_cache(_HEADERS_CACHED_MAX)
def output(accept: str, *, converts: bool = True) -> Output:
    """For an object or a list; without `converts` for one that has no Table or metadata form.

    Raises: NotAcceptable.
    """
    if not accept:
        return _PLAIN_JSON
    for clause in clauses(accept):
        for media_type in MEDIA_TYPES:
            found = _accepted(clause, media_type)
            if found is not None and (converts or not found.convert):
                return found
    raise errors.not_acceptable(
        f"only the following media types are accepted: {', '.join(MEDIA_TYPES)}"
    )


def _accepted(clause: Clause, media_type: str) -> Output | None:
    if clause.media_type not in (media_type, "*/*", "application/*"):
        return None
    kind = clause.get("as")
    if not kind:
        return None if clause.get("g") or clause.get("v") else Output(media_type)
    if clause.get("g") != "meta.k8s.io" or clause.get("v") not in _META_VERSIONS:
        return None
    if kind not in (TABLE, PARTIAL, PARTIAL_LIST):
        return None
    # A Table has no protobuf form, as upstream.
    if kind == TABLE and media_type == PROTOBUF:
        return None
    return Output(media_type, kind, clause.get("v"))


@lru_cache(_HEADERS_CACHED_MAX)
def stream_output(accept: str) -> Output:
    """For a watch: YAML cannot be framed. Raises: NotAcceptable."""
    if not accept:
        return _PLAIN_JSON
    for clause in clauses(accept):
        if clause.get("stream") not in ("", "watch"):
            continue
        for media_type in STREAM_TYPES:
            found = _accepted(clause, media_type)
            if found is not None:
                return found
    raise errors.not_acceptable(
        f"only the following media types are accepted: {', '.join(MEDIA_TYPES)}"
    )


def error_media_type(accept: str) -> str:
    """Errors are told in the client's encoding where it has one, else in JSON."""
    if not accept:
        return JSON
    for clause in clauses(accept):
        if clause.media_type in MEDIA_TYPES:
            return clause.media_type
    return JSON


def media_type_of(content_type: str) -> str:
    return content_type.split(";", 1)[0].strip().lower()


def body_type(content_type: str) -> str:
    """The encoding of a request's body. Raises: UnsupportedMediaType."""
    if not content_type:
        return JSON
    media_type = media_type_of(content_type)
    if media_type in MEDIA_TYPES:
        return media_type
    raise unsupported(MEDIA_TYPES)


def patch_type(content_type: str) -> str:
    """Raises: UnsupportedMediaType."""
    media_type = media_type_of(content_type)
    if media_type in PATCH_TYPES:
        return media_type
    raise unsupported(PATCH_TYPES)


def unsupported(accepted: tuple[str, ...]) -> errors.ApiError:
    return errors.unsupported_media_type(
        "the body of the request was in an unknown format - "
        f"accepted media types include: {', '.join(accepted)}"
    )


def wants_gzip(accept_encoding: str) -> bool:
    return "gzip" in accept_encoding
