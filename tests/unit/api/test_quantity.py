from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpath.api import quantity
from tests.support.answers import answers

SUFFIXES = ["", "n", "u", "m", "k", "M", "G", "T", "P", "Ki", "Mi", "Gi", "Ti", "e3", "E-2", "e0"]
# Upstream wraps round here, and loses suffixes past `E`; ours is held to the largest number.
OVERFLOWING = {
    "1Ei", "16Ei", "100Ei", "1024Ei", "123456789012345678901", "1E", "1e100", "1E20", "1000E",
    "1000000E", "1e99999999999999", "10000000000000000000000m",
}  # fmt: skip

# Upstream forgets the exponent when it has no suffix for it, and says "1".
WITHOUT_SUFFIX = {"1000E": "1e21", "1000000E": "1e24"}


@pytest.mark.parametrize(("text", "canonical", "value", "milli", "error"), answers("quantities"))
def test_as_upstream(text, canonical, value, milli, error):
    if text == "1e99999999999999":
        with pytest.raises(quantity.QuantityError):
            quantity.parse(text)
    elif error is not None:
        with pytest.raises(quantity.QuantityError) as raised:
            quantity.parse(text)
        assert str(raised.value) == error
    else:
        parsed = quantity.parse(text)
        assert parsed.text == WITHOUT_SUFFIX.get(text, canonical)
        if text not in OVERFLOWING:
            assert (parsed.value(), parsed.milli_value()) == (value, milli)


@given(
    st.integers(-(10**9), 10**9), st.integers(0, 999), st.integers(0, 3), st.sampled_from(SUFFIXES)
)
def test_canonical_text_means_the_same_and_is_its_own_canonical_text(
    whole, fraction, digits, suffix
):
    text = f"{whole}.{fraction:03d}"[: None if digits == 3 else -(4 - digits) + 1] + suffix
    parsed = quantity.parse(text)
    again = quantity.parse(parsed.text)
    assert quantity.compare(parsed, again) == 0
    assert quantity.parse(again.text).text == again.text


@given(st.integers(-(10**12), 10**12), st.integers(-(10**12), 10**12))
def test_sums_and_order_are_those_of_the_numbers(left, right):
    a, b = quantity.of_milli(left), quantity.of_milli(right)
    assert quantity.add(a, b).milli_value() == left + right
    assert quantity.subtract(a, b).milli_value() == left - right
    assert quantity.compare(a, b) == (left > right) - (left < right)


@given(st.decimals(-1000, 1000, places=6))
def test_rounding_is_away_from_zero(number):
    parsed = quantity.parse(format(number, "f"))
    rounded = Decimal(parsed.milli_value())
    assert abs(rounded) >= abs(number * 1000)
    assert abs(rounded - number * 1000) < 1


@pytest.mark.parametrize(
    ("left", "right", "total"),
    [
        pytest.param("1Gi", "512Mi", "1536Mi", id="binary"),
        pytest.param("250m", "750m", "1", id="milli"),
        pytest.param("0", "1Ki", "1Ki", id="zero takes the other's form"),
        pytest.param("1Ki", "1", "1025", id="not a whole number of Ki"),
        pytest.param("1", "1Ki", "1025", id="the left one's form"),
    ],
)
def test_add(left, right, total):
    assert quantity.add(quantity.parse(left), quantity.parse(right)).text == total


def test_shortcuts():
    assert quantity.milli_value("250m") == 250
    assert quantity.value("1Ki") == 1024
    assert quantity.value("") == quantity.milli_value("") == 0
    assert quantity.canonical("1000m") == "1"
