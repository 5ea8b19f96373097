"""Which signing keys a project trusts: those it publishes to verify its tokens."""

from http import HTTPStatus

import aiohttp

from realtime_bridge.base import decode, read_body
from realtime_bridge.credentials import Key, algorithm_of, key_id_of, signature_of

PATH = "/auth/v1/.well-known/jwks.json"
_TIMEOUT = aiohttp.ClientTimeout(total=10)
_LIMIT = 2**18  # bytes
_MOST = 3  # keys that are worth naming
_SECRETS = ("HS256", "HS384", "HS512")


async def stranger(url: str, key: Key) -> str | None:
    """Say of a refused key that its signing key is none of the project's; None if it may be.

    A key that is signed with the JWT secret cannot be judged: nobody publishes that.
    """
    algorithm, key_id = algorithm_of(key.secret), key_id_of(key.secret)
    if algorithm is None or key_id is None or algorithm in _SECRETS:
        return None
    trusted = await _published(url, key)
    if trusted is None or (key_id, algorithm) in trusted:
        return None
    named = [f"{kid} ({alg})" for kid, alg in trusted]
    more = f" and {len(named) - _MOST} more" if len(named) > _MOST else ""
    keys = f"{', '.join(named[:_MOST])}{more}" if named else "none"
    return (
        f"SUPABASE_KEY is signed with a key that this project does not know "
        f"({signature_of(key.secret)}); signing keys that it knows: {keys}"
    )


async def _published(url: str, key: Key) -> list[tuple[str, str]] | None:
    """The ids and algorithms of the project's public keys; None if it does not say."""
    # Supabase gives them to everybody, older gateways only to who has an API key.
    headers = {"apikey": key.gateway} if key.gateway != key.secret else {}
    try:
        async with (
            aiohttp.ClientSession(timeout=_TIMEOUT) as session,
            session.get(f"{url}{PATH}", headers=headers) as response,
        ):
            status, (body, whole) = response.status, await read_body(response, _LIMIT)
    except (aiohttp.ClientError, TimeoutError):
        return None
    if status != HTTPStatus.OK or not whole:
        return None
    match decode(body.decode(errors="replace")):
        case {"keys": [*jwks]}:
            return [pair for jwk in jwks if (pair := _named(jwk))]
        case _:
            return None


def _named(jwk: object) -> tuple[str, str] | None:
    match jwk:
        case {"kid": str(kid), "alg": str(alg)} if kid.isprintable() and alg.isprintable():
            return kid[:64], alg[:16]
        case _:
            return None
