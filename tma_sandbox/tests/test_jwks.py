"""Signing keys read from a file."""

import json

import jwt
import pytest

from tests.signing_keys import jwk, public_half
from tma_sandbox.errors import StackError
from tma_sandbox.jwks import SigningKeys
from tma_sandbox.keys import Keys

ES, RS = jwk("ES256"), jwk("RS256")


def test_a_project_without_a_private_key_exchanges_them_as_before():
    """The JWT secret signs then."""
    keys = Keys(signing=SigningKeys((public_half(ES),)))

    minted = keys.behind(keys.publishable_key)

    assert jwt.decode(minted, keys.jwt_secret, ["HS256"])["role"] == "anon"


def test_signing_keys_are_not_kept_with_the_made_up_ones(tmp_path):
    """They have a file of their own; the generated keys stay as they were."""
    first = Keys.kept_in(tmp_path / "keys.json", SigningKeys((ES,)))
    second = Keys.kept_in(tmp_path / "keys.json", SigningKeys((RS,)))

    assert "signing" not in (tmp_path / "keys.json").read_text()
    assert ES["d"] not in repr(first)
    assert (first.jwt_secret, first.signing.jwks) == (second.jwt_secret, (ES,))
    assert second.signing.jwks == (RS,)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is not JSON"),
        ("[]", "holds no signing key"),
        ("7", "holds no signing key"),
        (json.dumps([ES, {}]), "key 2 .* is no JWK with a kid"),
        (json.dumps(ES | {"alg": "HS256"}), "key 1 .* is not for ES256 or RS256"),
        (json.dumps(ES | {"alg": "RS256"}), "is not for ES256 or RS256"),
        (json.dumps(ES | {"x": "AAAA"}), "is damaged"),
    ],
)
def test_a_file_of_something_else_is_named(tmp_path, text, says):
    """The error names the file and the problem."""
    (tmp_path / "keys").write_text(text)

    with pytest.raises(StackError, match=says):
        SigningKeys.read(tmp_path / "keys")
