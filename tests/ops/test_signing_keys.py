"""A project with asymmetric signing keys: token, and what check says of keys by their signature."""

import base64
import hmac
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio

from realtime_bridge.credentials import signing
from realtime_bridge.database import migrations_directory
from tests.integration.kit import World, until
from tests.ops.project import Project
from tests.signing_keys import jwk, public_half
from tma_sandbox.jwks import NO_KEYS
from tma_sandbox.realtime import Delays
from tma_sandbox.stack import LocalStack

LIFE = timedelta(days=100)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """A bell that does not ring here within two seconds never will."""
    monkeypatch.setattr("realtime_bridge.commands.check.round_trip.RING_SECONDS", 2.0)


@pytest.fixture(scope="module")
def keys():
    """The private halves; the project knows the first three, `retired` by its public half."""
    return {
        "es": jwk("ES256"),
        "rs": jwk("RS256"),
        "retired": jwk("ES256"),
        "unknown": jwk("ES256"),
    }


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def signing_stack(keys, tmp_path_factory):
    """A stack with signing keys."""
    file = tmp_path_factory.mktemp("keys") / "signing_keys.json"
    file.write_text(json.dumps([keys["es"], keys["rs"], public_half(keys["retired"])]))
    async with LocalStack(
        migrations=migrations_directory(),
        signing_keys=file,
        changes_poll=(0.005, 0.02),
        delays=Delays.none(),
    ) as stack:
        yield stack


@pytest_asyncio.fixture(loop_scope="session")
async def project(signing_stack, tmp_path):
    """That stack with the folder of a project that is configured for it."""
    async with World.around(signing_stack) as world:
        yield Project(world, tmp_path)


def minted(key):
    return signing.parse(json.dumps(key)).mint(now=datetime.now(UTC), lifetime=LIFE)


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@pytest.mark.parametrize("name", ["es", "rs", "retired"])
async def test_a_key_that_the_project_knows_opens_everything(project, keys, name):
    """RPCs and both bells; check says of what kind it is, by which key, and when it ends."""
    project.configure(SUPABASE_KEY=minted(keys[name]))

    code, findings = await project.check()

    detail = findings["key"]["detail"]
    signature = f"{keys[name]['alg']}, kid {keys[name]['kid']}"
    assert code == 0, findings
    assert detail.startswith(f"a JWT of the role tma_bridge ({signature})")
    assert f"({datetime.now(UTC) + LIFE:%Y-%m-%d}" in detail
    assert "changes rang" in findings["realtime"]["detail"]
    assert "broadcast rang" in findings["realtime"]["detail"]


async def test_a_bridge_delivers_with_such_a_key(project, keys):
    """From the insert to the message."""
    world = project.world
    key, anon = minted(keys["es"]), world.stack.env()["SUPABASE_PUBLISHABLE_KEY"]

    async with world.running_bridge(SUPABASE_KEY=key, SUPABASE_ANON_KEY=anon) as bridge:
        id_ = await world.insert(1)
        await world.settled()
        _, state = bridge.readiness()

    assert (await world.row(id_))["status"] == "delivered"
    assert (state["doorbell"]["changes"], state["doorbell"]["broadcast"]) == ("ready", "ready")


async def test_a_key_without_its_public_half_is_named(project, keys):
    """With the key by its id, those that are known, and who must do what."""
    project.configure(SUPABASE_KEY=minted(keys["unknown"]))

    code, findings = await project.check()

    finding = findings["key"]
    assert (code, finding["status"]) == (1, "failed")
    assert f"(ES256, kid {keys['unknown']['kid']})" in finding["detail"]
    assert f"{keys['es']['kid']} (ES256)" in finding["detail"]
    assert "whoever runs this Supabase" in finding["fix"]["text"]
    assert f"give it the signing key {keys['unknown']['kid']}" in finding["fix"]["text"]
    assert findings["realtime"]["status"] == "skipped"


async def test_giving_the_project_the_key_mends_it(project, keys, tmp_path):
    """What the fix tells whoever runs it: a stack with the key in its file knows it."""
    file = tmp_path / "signing_keys.json"
    file.write_text(json.dumps([keys["unknown"]]))
    async with (
        LocalStack(
            migrations=migrations_directory(), signing_keys=file, delays=Delays.none()
        ) as stack,
        World.around(stack) as world,
    ):
        mended = Project(world, tmp_path)
        mended.configure(SUPABASE_KEY=minted(keys["unknown"]))

        code, findings = await mended.check()

    assert code == 0, findings


async def test_a_forger_of_a_known_kid_is_refused(project, keys):
    """The kid says which key to verify with, and proves nothing."""
    forged = keys["unknown"] | {"kid": keys["es"]["kid"]}
    project.configure(SUPABASE_KEY=minted(forged))

    code, findings = await project.check()

    assert (code, findings["key"]["status"]) == (1, "failed")
    assert "Supabase refused the key" in findings["key"]["detail"]
    assert keys["es"]["kid"] in findings["key"]["detail"]


async def test_the_public_half_is_no_secret_to_sign_with(project, keys):
    """HS256 with what everybody may read: PostgREST refuses it."""
    known = next(one for one in project.world.stack.keys.signing.public())
    claims = {"role": "tma_bridge", "exp": int((datetime.now(UTC) + LIFE).timestamp())}
    header = {"alg": "HS256", "typ": "JWT", "kid": keys["es"]["kid"]}
    body = ".".join(encoded(json.dumps(part).encode()) for part in (header, claims))
    forged = hmac.digest(json.dumps(known).encode(), body.encode(), "sha256")
    project.configure(SUPABASE_KEY=f"{body}.{encoded(forged)}")

    code, findings = await project.check()

    assert (code, findings["key"]["status"]) == (1, "failed")


async def test_a_realtime_that_does_not_know_the_key(project, keys):
    """As self-hosted ones of which PostgREST alone was given the JWKS."""
    realtime = project.world.stack.realtime
    services = realtime._services
    realtime._services = replace(services, signing=NO_KEYS)
    project.configure(SUPABASE_KEY=minted(keys["es"]))
    try:
        code, findings = await project.check()
    finally:
        realtime._services = services
    mended, _ = await project.check()

    assert (code, findings["key"]["status"], findings["realtime"]["status"]) == (1, "ok", "failed")
    assert "API_JWT_JWKS" in findings["realtime"]["fix"]["text"]
    assert mended == 0


async def test_a_project_that_has_revoked_its_jwt_secret(project, keys):
    """Another token of the same secret would be refused too, so none is proposed."""
    postgrest, signing_keys = project.world.stack.postgrest, project.world.stack.keys.signing
    secret = postgrest._jwt_secret
    await project.shell('echo "SUPABASE_KEY=$(realtime-bridge token)" >> .env')
    postgrest._jwt_secret = json.dumps({"keys": signing_keys.public()})
    await postgrest.restart()
    try:
        code, findings = await project.check()
        project.configure(SUPABASE_KEY=minted(keys["es"]))
        _, half = await project.check()
        public = project.world.stack.env()["SUPABASE_PUBLISHABLE_KEY"]
        project.configure(SUPABASE_KEY=minted(keys["es"]), SUPABASE_ANON_KEY=public)
        mended, _ = await project.check()
    finally:
        postgrest._jwt_secret = secret
        await postgrest.restart()

    assert (code, mended, findings["key"]["status"]) == (1, 0, "failed")
    assert (half["key"]["status"], half["mini-app"]["status"]) == ("ok", "failed")  # the anon key
    assert "does not trust its JWT secret" in findings["key"]["detail"]
    assert "(HS256), which SUPABASE_JWT_SECRET signed" in findings["key"]["detail"]
    assert "realtime-bridge token --signing-key FILE" in findings["key"]["fix"]["text"]


async def test_an_api_key_of_another_project_for_the_gateway(project, keys):
    """It is SUPABASE_ANON_KEY that is refused, not the token behind it."""
    project.configure(SUPABASE_KEY=minted(keys["es"]), SUPABASE_ANON_KEY="sb_publishable_other_x")

    code, findings = await project.check()

    assert (code, findings["key"]["status"]) == (1, "failed")
    assert "set SUPABASE_ANON_KEY" in findings["key"]["fix"]["text"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("SUPABASE_SECRET_KEY", "an sb_secret_ key of the role service_role"),
        ("SUPABASE_KEY", "a JWT of the role service_role (HS256)"),
    ],
)
async def test_other_keys_are_named_by_their_kind(project, name, says):
    """What has all rights is said to have them."""
    project.configure(SUPABASE_KEY=project.world.stack.env()[name])

    code, findings = await project.check()

    assert code == 0, findings
    assert findings["key"]["detail"].startswith(f"{says}, which may do everything")


async def test_a_bridge_hears_on_when_the_gateways_token_has_ended(project, monkeypatch):
    """An sb_secret_ key is exchanged for a token that ends while the connection lasts."""
    monkeypatch.setattr("tma_sandbox.keys._HOUR", 2)
    world = project.world
    key = world.stack.env()["SUPABASE_SECRET_KEY"]

    async with world.running_bridge(SUPABASE_KEY=key) as bridge:

        async def back_again():
            bells = bridge.readiness()[1]["doorbell"]
            ended = "Token has expired" in (bells["last_error"] or "")
            return ended and bells["changes"] == bells["broadcast"] == "ready"

        await until(back_again)
        id_ = await world.insert(1)
        await world.settled()

    assert (await world.row(id_))["status"] == "delivered"
