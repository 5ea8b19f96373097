"""Signing keys from files: what is taken, and what is said of everything else."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from realtime_bridge.credentials import signing, tokens
from tests.signing_keys import jwk, public_half

NOW = datetime.now(UTC).replace(microsecond=0)
YEAR = timedelta(days=365)
SUPABASE = Path(__file__).parents[2] / "node_modules" / ".bin" / "supabase"
ES, RS = jwk("ES256"), jwk("RS256")


def mint(value):
    return signing.parse(json.dumps(value)).mint(now=NOW, lifetime=YEAR)


def without(key, *names):
    return {name: value for name, value in key.items() if name not in names}


@pytest.mark.parametrize("algorithm", ["ES256", "RS256"])
def test_what_supabases_own_tool_writes_is_taken(algorithm, tmp_path):
    """The CLI's output as it is; the key's id goes into the header, the role into the claims."""
    written = subprocess.run(
        [SUPABASE, "gen", "signing-key", "--algorithm", algorithm],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        env={"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(tmp_path)},
    ).stdout
    (tmp_path / "key.json").write_bytes(written)

    token = signing.read_signing_key(tmp_path / "key.json").mint(now=NOW, lifetime=YEAR)

    public = jwt.PyJWK(public_half(json.loads(written)), algorithm).key
    claims = jwt.decode(token, public, [algorithm])
    header = jwt.get_unverified_header(token)
    assert header == {"alg": algorithm, "typ": "JWT", "kid": json.loads(written)["kid"]}
    assert (claims["role"], claims["exp"] - claims["iat"]) == ("tma_bridge", YEAR.total_seconds())
    assert tokens.signature_of(token) == f"{algorithm}, kid {header['kid']}"


@pytest.mark.parametrize("value", [[ES, RS], {"keys": [ES, RS]}, without(ES, "alg")])
def test_the_first_of_several_signs(value):
    """As the CLI takes its signing_keys.json; what a key is for may be left to its kind."""
    assert jwt.get_unverified_header(mint(value))["kid"] == ES["kid"]


def test_a_byte_order_mark_does_not_matter(tmp_path):
    """Some editors write one."""
    (tmp_path / "key").write_text(f"\ufeff{json.dumps(ES)}\n", encoding="utf-8")

    assert signing.read_signing_key(tmp_path / "key").key_id == ES["kid"]


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (public_half(ES), "has the public half only"),
        (public_half(RS), "has the public half only"),
        ({"keys": [public_half(ES)]}, "has the public half only"),
        (jwk("ES384"), "is for the algorithm ES384; Supabase imports keys for ES256 and RS256"),
        ({"kty": "OKP", "crv": "Ed25519", "d": "x", "x": "y"}, "is for the algorithm unknown"),
        (ES | {"alg": ["ES256"]}, "is for the algorithm unknown"),
        (ES | {"alg": "none"}, "is for the algorithm none"),
        (ES | {"alg": "RS256"}, "is damaged: it is no key for RS256"),
        (RS | {"alg": "ES256"}, "is damaged: it is no key for ES256"),
        ({"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"}, "set SUPABASE_JWT_SECRET to the project"),
        ({"kty": "oct", "k": "c2VjcmV0", "alg": "ES256"}, "set SUPABASE_JWT_SECRET to the project"),
        (without(ES, "kid"), "has no kid"),
        (ES | {"kid": ""}, "has no kid"),
        (ES | {"kid": 7}, "has no kid"),
        (ES | {"kid": "a\x1b[31m"}, "has no kid"),
        (ES | {"d": "AAAA"}, "is damaged"),
        (ES | {"d": 7}, "is damaged"),
        (ES | {"d": jwk("ES256")["d"]}, "is damaged"),
        (ES | {"x": "~~~"}, "is damaged"),
        (RS | {"d": jwk("RS256")["d"]}, "is damaged"),
        (jwk("RS256", bits=1024), "is shorter than 2048 bits"),
        (RS | {"n": None}, "is shorter than 2048 bits"),
        ([], "holds no JWK"),
        ([[ES]], "holds no JWK"),
        ({"keys": {}}, "holds no JWK"),
        ({"kty": 1}, "holds no JWK"),
        ("text", "holds no JWK"),
        (None, "holds no JWK"),
    ],
)
def test_what_cannot_sign_is_refused_with_what_can(value, says):
    """In words, and without a piece of the key."""
    with pytest.raises(ValueError, match=r"^(is|has|holds) ") as refused:
        mint(value)

    text = str(refused.value)
    assert says in text
    assert not any(part and str(part) in text for part in (ES["d"], RS["d"], ES["x"]))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is not JSON"),
        (b"not json", "is not JSON"),
        (b"[" * 100_000, "is too large"),
        (b"[" * 60_000, "is not JSON"),
        (b"\xff\xfe\x00", "is not text in UTF-8"),
        (
            ec.generate_private_key(ec.SECP256R1()).private_bytes(
                Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
            ),
            "is in PEM",
        ),
    ],
)
def test_a_file_that_is_something_else(data, says, tmp_path):
    """Named, with what makes a right one."""
    (tmp_path / "file").write_bytes(data)

    with pytest.raises(ValueError, match=says) as refused:
        signing.read_signing_key(tmp_path / "file")

    assert str(tmp_path / "file") in str(refused.value)
    assert "supabase gen signing-key" in str(refused.value)


@pytest.mark.parametrize("name", ["nowhere", ".", "/dev/zero"])
def test_a_file_that_cannot_be_read(name, tmp_path):
    """Not there, a folder, or endless."""
    with pytest.raises(ValueError, match=r"cannot be read|is too large"):
        signing.read_signing_key(tmp_path / name)


@pytest.mark.parametrize("secret", [json.dumps(ES), json.dumps([ES]), "-----BEGIN PRIVATE KEY"])
def test_a_signing_key_is_no_jwt_secret(secret):
    """It says where it belongs."""
    with pytest.raises(ValueError, match="--signing-key"):
        tokens.mint(secret, now=NOW, lifetime=YEAR)


def test_a_running_bridge_has_no_use_for_cryptography():
    """Nine megabytes; only what signs loads it."""
    code = "import sys, realtime_bridge.process, realtime_bridge.cli\n"
    code += "import realtime_bridge.credentials.signing\n"
    code += "sys.exit('cryptography' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
