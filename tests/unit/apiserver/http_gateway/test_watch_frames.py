"""Watch frames against upstream's, byte by byte."""

import json
from pathlib import Path
from typing import Any

import pytest

from apiserver.http_gateway import watch_stream
from apiserver.http_gateway.watch_stream import JsonFramer, ProtobufFramer
from apiserver.storage.version import ObjectVersion, bookmark
from apiserver.verbs.interface import WatchEvent
from podpath.api import json_codec, scheme
from protos.k8s.core_v1_pb2 import ConfigMap
from protos.k8s.meta_v1_pb2 import Status

_GOLDEN = Path(__file__).parents[3] / "golden" / "watch-frames.json"
_FRAMES = json.loads(_GOLDEN.read_text())
_TREES: dict[str, Any] = {
    "added": {
        "metadata": {"name": "cm", "namespace": "default", "resourceVersion": "12"},
        "data": {"a": "1"},
    },
    "initial-events-end": {
        "metadata": {
            "resourceVersion": "15",
            "annotations": {"k8s.io/initial-events-end": "true"},
        }
    },
}
_EXPIRED = Status(
    status="Failure",
    message="too old resource version: 1 (2)",
    reason="Expired",
    code=410,
)


@pytest.mark.parametrize("frame", _FRAMES, ids=[f"{f['media_type']}-{f['name']}" for f in _FRAMES])
def test_golden_frames(frame: dict[str, str]):
    framer = JsonFramer() if frame["media_type"] == "application/json" else ProtobufFramer()
    if frame["event"] == "ERROR":
        made = framer.error(_EXPIRED)
    else:
        obj = json_codec.from_json(ConfigMap, _TREES[frame["name"]]).message
        made = framer.frames([WatchEvent(frame["event"], ObjectVersion(scheme.CONFIGMAPS, obj))])
    expected = bytes.fromhex(frame["frame_hex"])
    if frame["media_type"] == "application/json":
        assert json.loads(made) == json.loads(expected)
        assert made.endswith(b"}\n")
        assert made.count(b"\n") == 1
    else:
        assert made == expected


def test_a_batch_is_one_piece():
    obj = json_codec.from_json(ConfigMap, _TREES["added"]).message
    event = WatchEvent("MODIFIED", ObjectVersion(scheme.CONFIGMAPS, obj))
    assert JsonFramer().frames([event, event]) == 2 * JsonFramer().frames([event])


async def test_the_end_of_initial_events_shows_how_the_list_would_look():
    async def events():
        yield [WatchEvent("ADDED", bookmark(scheme.PODS, 4))]
        yield [WatchEvent("BOOKMARK", bookmark(scheme.PODS, 5, initial_events_end=True))]
        yield [WatchEvent("BOOKMARK", bookmark(scheme.PODS, 6))]

    told = [batch async for batch in watch_stream.with_list_blueprint(events(), b"[]")]
    annotations = [dict(batch[-1].version.object.metadata.annotations) for batch in told]
    assert annotations == [
        {},
        {
            "k8s.io/initial-events-end": "true",
            "kubernetes.io/initial-events-list-blueprint": "W10=",
        },
        {},
    ]
