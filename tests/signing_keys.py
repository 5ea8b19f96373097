"""Signing keys for tests, as `supabase gen signing-key` writes them."""

import json
import uuid

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

PRIVATE = {"d", "p", "q", "dp", "dq", "qi"}


def jwk(algorithm, *, bits=2048):
    """A new private key as a JWK, with a kid."""
    if algorithm.startswith("ES"):
        curve = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1()}[algorithm]
        numbers = ECAlgorithm.to_jwk(ec.generate_private_key(curve))
    else:
        numbers = RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, bits))
    return json.loads(numbers) | {
        "kid": str(uuid.uuid4()),
        "use": "sig",
        "key_ops": ["sign", "verify"],
        "alg": algorithm,
        "ext": True,
    }


def public_half(key):
    """What the project publishes of it."""
    return {name: value for name, value in key.items() if name not in PRIVATE}
