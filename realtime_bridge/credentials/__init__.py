"""Keys and tokens: what they say of themselves, and how they are kept out of everything shown."""

from realtime_bridge.credentials.redaction import Redactor
from realtime_bridge.credentials.signing import read_signing_key
from realtime_bridge.credentials.tokens import (
    ROLE,
    SECRET,
    Key,
    algorithm_of,
    claims_of,
    end_of,
    is_cut_short,
    is_signed_with,
    key_id_of,
    mint,
    seconds_left,
    secret_of,
    signature_of,
    web_app_key,
)

__all__ = [
    "ROLE",
    "SECRET",
    "Key",
    "Redactor",
    "algorithm_of",
    "claims_of",
    "end_of",
    "is_cut_short",
    "is_signed_with",
    "key_id_of",
    "mint",
    "read_signing_key",
    "seconds_left",
    "secret_of",
    "signature_of",
    "web_app_key",
]
