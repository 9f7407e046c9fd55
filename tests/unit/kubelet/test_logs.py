from datetime import UTC, datetime

import pytest

from kubelet import log_reader
from kubelet.log_lines import parse_line
from kubelet.log_reader import LogOptions, parse_options, read_log
from podpath.component_base.clock import SystemClock

T = "2024-01-02T03:04:0{}.000000000Z"


def lines(*texts):
    return "".join(f"{T.format(i)} {text}\n" for i, text in enumerate(texts)).encode()


async def shown(path, options, running=lambda: False):
    return b"".join([piece async for piece in read_log(path, options, SystemClock(), running)])


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"t stdout F hello\n", (False, b"hello\n")),
        (b"t stderr P part\n", (True, b"part")),
        (b"t stdout F:tag x y\n", (False, b"x y\n")),
        (b"t stdout F \n", (False, b"\n")),
        (b"t other F x\n", None),
        (b"garbage\n", None),
    ],
)
def test_parse_line(raw, expected):
    line = parse_line(raw)
    assert (None if line is None else (line.partial, line.content)) == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        pytest.param(LogOptions(), b"one\ntwo three\nerr\n", id="whole, parts joined"),
        pytest.param(LogOptions(tail=1), b"err\n", id="tail"),
        pytest.param(LogOptions(tail=0), b"", id="tail 0"),
        pytest.param(LogOptions(tail=99), b"one\ntwo three\nerr\n", id="tail beyond"),
        pytest.param(LogOptions(limit_bytes=5), b"one\nt", id="limit"),
        pytest.param(LogOptions(stream="stderr"), b"err\n", id="one stream"),
        pytest.param(
            LogOptions(timestamps=True),
            f"{T.format(0)} one\n{T.format(1)} two three\n{T.format(3)} err\n".encode(),
            id="timestamps, one a line",
        ),
        pytest.param(
            LogOptions(since=datetime(2024, 1, 2, 3, 4, 3, tzinfo=UTC)), b"err\n", id="since"
        ),
    ],
)
async def test_read_log(tmp_path, options, expected):
    path = tmp_path / "0.log"
    path.write_bytes(lines("stdout F one", "stdout P two ", "stdout F three", "stderr F err"))
    assert await shown(str(path), options) == expected


async def test_follow_reads_what_comes_and_survives_a_rotation(tmp_path):
    path = tmp_path / "0.log"
    path.write_bytes(lines("stdout F one"))
    steps = iter(["more", "rotate", "end"])

    def is_running():
        step = next(steps, None)
        if step == "more":
            with path.open("ab") as file:
                file.write(lines("stdout F two"))
        elif step == "rotate":
            path.rename(tmp_path / "0.log.1")
            path.write_bytes(lines("stdout F three"))
        return step is not None

    found = await shown(str(path), LogOptions(follow=True), is_running)
    assert found == b"one\ntwo\nthree\n"


async def test_what_is_written_just_before_a_rotation_is_shown(tmp_path, monkeypatch):
    path = tmp_path / "0.log"
    path.write_bytes(lines("stdout F one"))
    look = log_reader._rotated

    def rotated(file, name):
        """The runtime writes and rotates in the moment of the look."""
        monkeypatch.setattr(log_reader, "_rotated", look)
        with path.open("ab") as log:
            log.write(lines("stdout F late"))
        path.rename(tmp_path / "0.log.1")
        path.write_bytes(lines("stdout F three"))
        return look(file, name)

    monkeypatch.setattr(log_reader, "_rotated", rotated)
    alive = iter([True, True])
    found = await shown(str(path), LogOptions(follow=True), lambda: next(alive, False))
    assert found == b"one\nlate\nthree\n"


def test_options_from_a_query():
    now = datetime(2024, 1, 1, tzinfo=UTC)
    found = parse_options({"follow": "true", "tailLines": "5", "sinceSeconds": "60"}, now)
    assert (found.follow, found.tail) == (True, 5)
    assert found.since == datetime(2023, 12, 31, 23, 59, tzinfo=UTC)
    with pytest.raises(ValueError, match="tailLines"):
        parse_options({"tailLines": "-1"}, now)
