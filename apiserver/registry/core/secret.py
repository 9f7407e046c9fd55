"""What is particular to Secrets: stringData is a way in, never stored.

Source: pkg/apis/core/v1/conversion.go (Convert_v1_Secret_To_core_Secret).
"""

from typing import Any

from apiserver.registry.strategy import GenericStrategy


class SecretStrategy(GenericStrategy):
    """stringData goes into data, over what is there."""

    def prepare_for_create(self, obj: Any) -> None:
        super().prepare_for_create(obj)
        _merge_string_data(obj)

    def prepare_for_update(self, new: Any, old: Any) -> None:
        super().prepare_for_update(new, old)
        _merge_string_data(new)
        if not new.type:
            new.type = old.type


def _merge_string_data(secret: Any) -> None:
    for key, text in secret.stringData.items():
        secret.data[key] = text.encode()
    secret.ClearField("stringData")
