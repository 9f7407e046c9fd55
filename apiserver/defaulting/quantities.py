"""Amounts of resources are kept to thousandths; what is finer is rounded up.

Source: pkg/apis/core/v1/defaults.go (SetDefaults_ResourceList).
"""

from collections.abc import MutableMapping
from typing import Any

from podpath.api import quantity


def round_up(amounts: MutableMapping[str, Any]) -> None:
    """Rounds a ResourceList's quantities up to thousandths, in place."""
    for name in amounts:
        text = amounts[name].string
        try:
            parsed = quantity.parse(text or "0")
        except quantity.QuantityError:
            continue  # it came over gRPC unparsed; validation says what is wrong
        if parsed.scale < -3 and parsed.unscaled % 10 ** (-3 - parsed.scale):
            amounts[name].string = quantity.of_milli(parsed.milli_value(), parsed.format).text
        elif parsed.text != text:
            amounts[name].string = parsed.text
