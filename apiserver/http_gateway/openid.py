"""What others need to verify the ServiceAccount tokens that this server issues.

Source: k8s.io/kubernetes pkg/serviceaccount/openidmetadata.go.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from apiserver.authentication.service_account_tokens import (
    PublicKey,
    algorithm,
    key_id,
    load_public_key,
)


class OpenIdMetadata:
    """The issuer's keys and the document that points to them."""

    def __init__(self, issuer: str, keys: Sequence[PublicKey], jwks_url: str) -> None:
        algorithms = sorted({algorithm(key) for key in keys})
        self._jwks = orjson.dumps({"keys": [_jwk(key) for key in keys]})
        self._configuration = orjson.dumps(
            {
                "issuer": issuer,
                "jwks_uri": jwks_url,
                "response_types_supported": ["id_token"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": algorithms,
            }
        )

    @classmethod
    def from_files(cls, issuer: str, files: Sequence[str], address: str) -> "OpenIdMetadata | None":
        """None without key files. `address` is this server's HOST:PORT. Raises: OSError,
        KeyFileError."""
        if not files:
            return None
        keys = [load_public_key(Path(file).read_bytes()) for file in files]
        return cls(issuer, keys, f"https://{address}/openid/v1/jwks")

    def jwks(self) -> bytes:
        return self._jwks

    def configuration(self) -> bytes:
        return self._configuration


def _jwk(key: PublicKey) -> dict[str, Any]:
    tree: dict[str, Any]
    if isinstance(key, RSAPublicKey):
        tree = RSAAlgorithm.to_jwk(key, as_dict=True)
    else:
        tree = ECAlgorithm.to_jwk(key, as_dict=True)
    tree.pop("key_ops", None)
    return tree | {"use": "sig", "kid": key_id(key), "alg": algorithm(key)}
