"""`realtime-bridge token`: a key of the narrow role tma_bridge."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from realtime_bridge.credentials import mint, read_signing_key, secret_of
from realtime_bridge.settings import ConfigurationError, source_of


def mint_token(
    env_file: Path | None, lifetime: timedelta, signing_key: Path | None
) -> tuple[str, bool]:
    """Sign a key with the signing key of a file, or else with the project's JWT secret.

    Returns the key, and whether SUPABASE_ANON_KEY is there, which the gateway wants beside it.
    Raises ConfigurationError.
    """
    values = source_of(env_file=env_file).read()
    now = datetime.now(UTC)
    try:
        if signing_key is None:
            key = mint(secret_of(values), now=now, lifetime=lifetime)
        else:
            key = read_signing_key(signing_key).mint(now=now, lifetime=lifetime)
    except ValueError as error:
        raise ConfigurationError([str(error)]) from error
    return key, bool(values.get("SUPABASE_ANON_KEY"))
