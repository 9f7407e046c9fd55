import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpath.component_base import durations


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [(0, "0s"), (1, "1ns"), (1500, "1.5µs"), (20_000_000, "20ms"), (1_500_000_000, "1.5s"),
     (90 * 10**9, "1m30s"), (3600 * 10**9, "1h0m0s"), (-5 * 10**9, "-5s")],
)  # fmt: skip
def test_as_go_writes_them(nanoseconds, text):
    assert durations.to_text(nanoseconds) == text
    assert durations.parse(text) == nanoseconds


@given(st.integers(-(2**62), 2**62))
def test_what_is_written_reads_as_the_same(nanoseconds):
    assert durations.parse(durations.to_text(nanoseconds)) == nanoseconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("20s", 20.0), ("1h", 3600.0), ("1.5m", 90.0), (".5s", 0.5), ("0", 0.0), ("+1s", 1.0)],
)
def test_other_forms_that_go_reads(text, seconds):
    assert durations.seconds(text) == seconds


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", 'time: invalid duration ""'),
        ("x", 'time: invalid duration "x"'),
        ("-", 'time: invalid duration "-"'),
        ("--5s", 'time: invalid duration "--5s"'),
        ("1.s.", 'time: invalid duration "1.s."'),
        ("5", 'time: missing unit in duration "5"'),
        ("1y", 'time: unknown unit "y" in duration "1y"'),
        ('1s"é', 'time: unknown unit "s\\"\\xc3\\xa9" in duration "1s\\"\\xc3\\xa9"'),
    ],
)
def test_what_is_no_duration_is_refused_in_gos_words(text, said):
    with pytest.raises(ValueError, match="time: ") as refused:
        durations.parse(text)
    assert str(refused.value) == said
