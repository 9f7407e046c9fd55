"""Amounts of resources: `250m` CPU, `1Gi` of memory.

A quantity is kept as an integer and a power of ten, so that no amount is rounded by a float.
Parsing is cached: a cluster says the same few amounts again and again.

Source: k8s.io/apimachinery pkg/api/resource/{quantity,suffix,amount}.go.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

DECIMAL_SI = "DecimalSI"
BINARY_SI = "BinarySI"
DECIMAL_EXPONENT = "DecimalExponent"

_FORMAT_WRONG = (
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
)
_NUMERIC_WRONG = "unable to parse numeric part of quantity"
_SUFFIX_WRONG = "unable to parse quantity's suffix"

_DECIMAL_SUFFIXES = {
    "n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18,
}  # fmt: skip
_BINARY_SUFFIXES = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_DECIMAL_NAMES = {exponent: suffix for suffix, exponent in _DECIMAL_SUFFIXES.items()}
_BINARY_NAMES = {0: ""} | {exponent: suffix for suffix, exponent in _BINARY_SUFFIXES.items()}

_PARTS = re.compile(r"([+-]?)([0-9]*)\.?([0-9]*)([eEinumkKMGTP]*[-+]?[0-9]*)", re.ASCII)
_EXPONENT = re.compile(r"[eE]([+-]?[0-9]+)", re.ASCII)

_INT64_MAX = 2**63 - 1
_INT64_DIGITS = 18  # any number of so many digits fits
_NANO = -9
_EXPONENT_MAX = 2**31 - 1
_COMPARABLE_DIGITS = 400  # past this many digits apart only the magnitudes are compared


class QuantityError(ValueError):
    """The text is not a quantity; the message is upstream's."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """`unscaled * 10**scale`, and how to write it.

    `text` is the canonical form, or the text that was parsed where upstream keeps it.
    """

    unscaled: int
    scale: int
    format: str
    text: str

    def __str__(self) -> str:
        return self.text

    @property
    def sign(self) -> int:
        return (self.unscaled > 0) - (self.unscaled < 0)

    def value(self) -> int:
        """In whole units, rounded away from zero."""
        return self.scaled(0)

    def milli_value(self) -> int:
        """In thousandths, rounded away from zero."""
        return self.scaled(-3)

    def scaled(self, scale: int) -> int:
        """In units of `10**scale`, rounded away from zero and held to 64 bits."""
        shift = self.scale - scale
        if shift >= 0:
            wide = self.unscaled * _power(shift)
            return max(-_INT64_MAX - 1, min(_INT64_MAX, wide))
        return _divide_up(self.unscaled, -shift)


def _power(digits: int) -> int:
    """A power of ten, held to a size that can be computed."""
    power: int = 10 ** min(digits, _COMPARABLE_DIGITS)
    return power


def _divide_up(number: int, digits: int) -> int:
    """`number / 10**digits`, away from zero."""
    if digits > _COMPARABLE_DIGITS:
        return (number > 0) - (number < 0)
    divisor = _power(digits)
    return -(-number // divisor) if number >= 0 else number // divisor


@lru_cache(maxsize=8192)
def parse(text: str) -> Quantity:
    """The quantity `text` says. Raises: QuantityError."""
    sign, whole, fraction, suffix = _split(text)
    whole = whole.lstrip("0") or "0"
    exponent, format_ = _interpret(suffix)
    digits = whole + fraction
    if len(digits) > _COMPARABLE_DIGITS:
        raise QuantityError(_NUMERIC_WRONG)
    number = int(digits)
    if format_ == BINARY_SI:
        return _parse_binary(text, sign, number, exponent, fraction, len(whole))
    scale = exponent - len(fraction)
    signed = -number if sign == "-" else number
    if len(digits) <= _INT64_DIGITS and scale >= _NANO:
        keeps_text = scale % 3 == 0 and not digits.endswith("000") and digits[0] != "0"
        return _quantity(signed, scale, format_, text if keeps_text else None)
    if scale < _NANO:
        signed, scale = _divide_up(signed, _NANO - scale), _NANO
    return _quantity(signed, scale, format_)


def _split(text: str) -> tuple[str, str, str, str]:
    if not text:
        raise QuantityError(_FORMAT_WRONG)
    match = _PARTS.fullmatch(text)
    if match is None:
        raise QuantityError(_FORMAT_WRONG)
    sign, whole, fraction, suffix = match.groups()
    return sign, whole, fraction, suffix


def _interpret(suffix: str) -> tuple[int, str]:
    if suffix in _DECIMAL_SUFFIXES:
        return _DECIMAL_SUFFIXES[suffix], DECIMAL_SI
    if suffix in _BINARY_SUFFIXES:
        return _BINARY_SUFFIXES[suffix], BINARY_SI
    match = _EXPONENT.fullmatch(suffix)
    if match is None or abs(int(match[1][:12])) > _EXPONENT_MAX:
        raise QuantityError(_SUFFIX_WRONG)
    return int(match[1]), DECIMAL_EXPONENT


def _parse_binary(
    text: str, sign: str, number: int, exponent: int, fraction: str, whole_digits: int
) -> Quantity:
    room = 15 - whole_digits - int(exponent * 3 / 10) - 1
    amount = number << exponent
    if not fraction and room >= 0 and amount <= _INT64_MAX:
        keeps_text = number & 7 != 0
        signed = -amount if sign == "-" else amount
        return _quantity(signed, 0, BINARY_SI, text if keeps_text else None)
    scale = -len(fraction)
    if scale < _NANO:
        amount, scale = _divide_up(amount, _NANO - scale), _NANO
    if amount > _INT64_MAX * 10**-scale:
        amount, scale = _INT64_MAX, 0
    format_ = DECIMAL_SI if 0 < amount < 10**-scale else BINARY_SI
    return _quantity(-amount if sign == "-" else amount, scale, format_)


def _quantity(unscaled: int, scale: int, format_: str, text: str | None = None) -> Quantity:
    if text is None:
        text = _canonical(unscaled, scale, format_)
    return Quantity(unscaled, scale, format_, text)


def _canonical(unscaled: int, scale: int, format_: str) -> str:
    """No fraction is written, no precision lost, and the exponent is as large as possible."""
    if unscaled == 0:
        return "0"
    if format_ == BINARY_SI:
        whole, exact = _whole(unscaled, scale)
        if exact and not -1024 < whole < 1024:
            exponent = 0
            while whole % 1024 == 0 and exponent < 60:
                whole //= 1024
                exponent += 10
            return f"{whole}{_BINARY_NAMES[exponent]}"
        format_ = DECIMAL_SI
    while unscaled % 10 == 0:
        unscaled //= 10
        scale += 1
    shift = scale % 3
    unscaled *= 10**shift
    scale -= shift
    if format_ == DECIMAL_SI and scale in _DECIMAL_NAMES:
        return f"{unscaled}{_DECIMAL_NAMES[scale]}"
    # Upstream writes 1000E as 1, for want of a suffix; an exponent keeps the amount.
    return f"{unscaled}e{scale}" if scale else str(unscaled)


def _whole(unscaled: int, scale: int) -> tuple[int, bool]:
    if scale >= 0:
        return unscaled * _power(scale), True
    whole, rest = divmod(unscaled, _power(-scale))
    return whole, rest == 0


def canonical(text: str) -> str:
    """The form in which upstream stores and shows `text`. Raises: QuantityError."""
    return parse(text).text


def value(text: str) -> int:
    """Whole units (bytes, Pods), rounded up; 0 for an empty text. Raises: QuantityError."""
    return parse(text).scaled(0) if text else 0


def milli_value(text: str) -> int:
    """Thousandths (millicores), rounded up; 0 for an empty text. Raises: QuantityError."""
    return parse(text).scaled(-3) if text else 0


def compare(left: Quantity, right: Quantity) -> int:
    """-1, 0 or 1."""
    if left.sign != right.sign or not left.sign:
        return (left.sign > right.sign) - (left.sign < right.sign)
    shift = left.scale - right.scale
    if abs(shift) > _COMPARABLE_DIGITS:
        return left.sign if shift > 0 else -left.sign
    a = left.unscaled * _power(max(shift, 0))
    b = right.unscaled * _power(max(-shift, 0))
    return (a > b) - (a < b)


def add(left: Quantity, right: Quantity) -> Quantity:
    """The sum, written as `left` is (as `right` is, if `left` is zero)."""
    if not right.unscaled:
        return left
    format_ = left.format if left.unscaled else right.format
    scale = min(left.scale, right.scale)
    a = left.unscaled * _power(left.scale - scale)
    b = right.unscaled * _power(right.scale - scale)
    return _quantity(a + b, scale, format_)


def negated(quantity: Quantity) -> Quantity:
    return _quantity(-quantity.unscaled, quantity.scale, quantity.format)


def subtract(left: Quantity, right: Quantity) -> Quantity:
    return add(left, negated(right))


def of_value(number: int, format_: str = DECIMAL_SI) -> Quantity:
    """A quantity of whole units: `of_value(1024, BINARY_SI)` is `1Ki`."""
    return _quantity(number, 0, format_)


def of_milli(number: int, format_: str = DECIMAL_SI) -> Quantity:
    """A quantity of thousandths: `of_milli(250)` is `250m`."""
    return _quantity(number, -3, format_)
