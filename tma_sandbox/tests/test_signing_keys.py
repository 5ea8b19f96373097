"""A stack with asymmetric signing keys: which tokens are valid."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import aiohttp
import jwt
import pytest
import pytest_asyncio
from postgrest import APIError
from supabase import AsyncClientOptions, acreate_client

from realtime_bridge.database import migrations_directory
from tests.signing_keys import jwk, public_half
from tma_sandbox.realtime import Delays
from tma_sandbox.stack import LocalStack

pytestmark = pytest.mark.asyncio(loop_scope="session")

STATS = "tma_event_stats"
JWKS = "/auth/v1/.well-known/jwks.json"
ES, RS, RETIRED, UNKNOWN = jwk("ES256"), jwk("RS256"), jwk("ES256"), jwk("RS256")


def token(key, **changes):
    """A tma_bridge token signed with a private JWK; other claims can be given."""
    claims = {"role": "tma_bridge", "exp": datetime.now(UTC) + timedelta(days=1)} | changes
    private = jwt.PyJWK(key, key["alg"]).key
    return jwt.encode(claims, private, key["alg"], headers={"kid": key["kid"]})


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def project(tmp_path_factory):
    """A stack that trusts three keys, one of which has only a public half."""
    file = tmp_path_factory.mktemp("keys") / "signing_keys.json"
    file.write_text(json.dumps([public_half(RETIRED), ES, RS]))
    async with LocalStack(
        migrations=migrations_directory(), signing_keys=file, delays=Delays.none()
    ) as stack:
        yield stack


@pytest_asyncio.fixture(loop_scope="session")
async def client(project):
    """Makes supabase-py clients with a publishable key and a token, as a server would."""
    made = []

    async def make(bearer):
        publishable = project.env()["SUPABASE_PUBLISHABLE_KEY"]
        headers = {"Authorization": f"Bearer {bearer}"}
        made.append(
            await acreate_client(
                project.url, publishable, options=AsyncClientOptions(headers=headers)
            )
        )
        await made[-1].realtime.set_auth(bearer)
        return made[-1]

    yield make
    for one in made:
        await one.realtime.close()
        await one.postgrest.aclose()


@pytest_asyncio.fixture(loop_scope="session")
async def http(project):
    """A plain HTTP client."""
    async with aiohttp.ClientSession(project.url) as session:
        yield session


async def state(client):
    """How a join of the bells' private channel ends."""
    ended = asyncio.get_running_loop().create_future()
    channel = client.channel("tma_bell", {"config": {"private": True}})

    def told(state, error=None):
        if not ended.done():
            ended.set_result((state, str(error or "")))

    await channel.subscribe(told)
    async with asyncio.timeout(20):
        return await ended


@pytest.mark.parametrize("key", [ES, RS, RETIRED], ids=["ES256", "RS256", "retired"])
async def test_a_token_of_a_known_key_opens_rest_and_realtime(client, key):
    """With the real clients, behind the publishable key."""
    supabase = await client(token(key))

    answer = await supabase.rpc(STATS, {}).execute()

    assert answer.data["pending"] == 0
    assert await state(supabase) == ("SUBSCRIBED", "")


@pytest.mark.parametrize(
    "bad",
    [token(UNKNOWN), token(UNKNOWN | {"kid": RS["kid"]}), token(jwk("ES256") | {"kid": ES["kid"]})],
    ids=["unknown", "forged RS256", "forged ES256"],
)
async def test_a_token_of_another_key_opens_neither(client, bad):
    """Whatever kid it names."""
    supabase = await client(bad)

    with pytest.raises(APIError) as refused:
        await supabase.rpc(STATS, {}).execute()
    joined, error = await state(supabase)

    assert refused.value.code == "PGRST301"
    assert joined == "CHANNEL_ERROR"
    assert "JwtSign" in error


async def test_a_token_that_is_over_is_over(client):
    """Even with a valid signature."""
    supabase = await client(token(ES, exp=datetime.now(UTC) - timedelta(minutes=1)))

    with pytest.raises(APIError) as refused:
        await supabase.rpc(STATS, {}).execute()

    assert refused.value.message == "JWT expired"


async def test_a_token_of_a_signing_key_is_no_api_key(http):
    """Hosted gateways refuse it, even where Realtime would accept it."""
    own = token(ES)

    async with http.post(f"/rest/v1/rpc/{STATS}", json={}, headers={"apikey": own}) as answer:
        assert (answer.status, (await answer.json())["message"]) == (401, "Invalid API key")
    async with http.get(f"/realtime/v1/websocket?apikey={own}&vsn=1.0.0") as answer:
        assert (answer.status, (await answer.json())["message"]) == (401, "Invalid API key")


async def test_the_public_halves_are_for_everybody(http):
    """Without an API key, and without the private halves."""
    async with http.get(JWKS) as answer:
        published = (await answer.json())["keys"]

    assert answer.status == 200
    assert [key["kid"] for key in published] == [RETIRED["kid"], ES["kid"], RS["kid"]]
    assert all(public_half(key) == key for key in published)


async def test_legacy_keys_are_trusted_beside_them(project, http):
    """As in a project that has not revoked its JWT secret."""
    for name, status in (("SUPABASE_KEY", 200), ("SUPABASE_SECRET_KEY", 200)):
        headers = {"apikey": project.env()[name]}
        async with http.post(f"/rest/v1/rpc/{STATS}", json={}, headers=headers) as answer:
            assert answer.status == status


async def test_sb_keys_are_exchanged_for_tokens_of_the_first_private_key(project):
    """They expire soon, like the hosted gateway's."""
    minted = project.keys.behind(project.env()["SUPABASE_SECRET_KEY"])

    claims = jwt.decode(minted, jwt.PyJWK(public_half(ES), "ES256").key, ["ES256"])

    assert jwt.get_unverified_header(minted)["kid"] == ES["kid"]
    assert claims["role"] == "service_role"
    assert claims["exp"] - claims["iat"] <= 3600


async def test_without_signing_keys_the_list_is_empty(clean_stack):
    """As Auth answers for a project that has its JWT secret alone."""
    async with aiohttp.ClientSession(clean_stack.url) as http, http.get(JWKS) as answer:
        assert await answer.json() == {"keys": []}
