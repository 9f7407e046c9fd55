"""CRI's log lines."""

from hypothesis import given
from hypothesis import strategies as st

from runtime_shim.log_format import MAX_LINE_BYTES, LineCutter, timestamp

HEAD = b"2024-01-02T03:04:05.000000009Z stdout "
AT = 1_704_164_645_000_000_009


def test_timestamp_has_nine_fraction_digits() -> None:
    assert timestamp(AT) == b"2024-01-02T03:04:05.000000009Z"


def test_a_line_is_written_when_it_is_whole() -> None:
    cutter = LineCutter("stdout")
    assert cutter.feed(b"he", AT) == b""
    assert cutter.feed(b"llo\nwor", AT) == HEAD + b"F hello\n"
    assert cutter.finish(AT) == HEAD + b"P wor\n"
    assert cutter.finish(AT) == b""


def test_an_empty_line_is_a_line() -> None:
    assert LineCutter("stdout").feed(b"\n\n", AT) == (HEAD + b"F \n") * 2


def test_a_long_line_comes_in_parts() -> None:
    data = b"x" * (2 * MAX_LINE_BYTES + 3) + b"\n"
    lines = LineCutter("stdout").feed(data, AT).splitlines()
    assert [line.split(b" ", 3)[2] for line in lines] == [b"P", b"P", b"F"]
    assert len(lines[-1].split(b" ", 3)[3]) == 3


@given(st.lists(st.binary(max_size=200)), st.integers(0, 3))
def test_nothing_is_lost_or_added(chunks: list[bytes], stretch: int) -> None:
    cutter = LineCutter("stderr")
    chunks = [chunk * (1 + 100 * stretch) for chunk in chunks]
    written = b"".join(cutter.feed(chunk, AT) for chunk in chunks) + cutter.finish(AT)
    said = b""
    for line in written.split(b"\n")[:-1]:
        _, stream, tag, content = line.split(b" ", 3)
        assert stream == b"stderr"
        assert len(content) <= MAX_LINE_BYTES
        said += content + (b"\n" if tag == b"F" else b"")
    assert said == b"".join(chunks)
