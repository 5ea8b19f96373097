"""Keys and tokens: what they say of themselves, and how they are kept out of everything shown."""

from realtime_bridge.credentials.redaction import Redactor
from realtime_bridge.credentials.tokens import (
    ROLE,
    SECRET,
    Key,
    claims_of,
    is_cut_short,
    mint,
    seconds_left,
    secret_of,
    web_app_key,
)

__all__ = [
    "ROLE",
    "SECRET",
    "Key",
    "Redactor",
    "claims_of",
    "is_cut_short",
    "mint",
    "seconds_left",
    "secret_of",
    "web_app_key",
]
