"""An issuer of tokens for tests: its keys, and what it signs."""

from __future__ import annotations

import json
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from interlock.clock import SystemClock

__all__ = ["Issuer"]


class Issuer:
    """Signs tokens with one key, whose public half is in its set."""

    def __init__(self, name: str = "https://login.example/", kid: str = "one") -> None:
        self.name = name
        self.kid = kid
        self.rsa = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.ec = ec.generate_private_key(ec.SECP256R1())

    def key_set(self) -> str:
        """Both public keys, as a JSON Web Key Set."""
        keys = [
            json.loads(RSAAlgorithm.to_jwk(self.rsa.public_key())) | {"kid": self.kid},
            json.loads(ECAlgorithm.to_jwk(self.ec.public_key())) | {"kid": f"{self.kid}-ec"},
        ]
        return json.dumps({"keys": keys})

    def claims(self, **more: Any) -> dict[str, Any]:
        """What a good token says; None leaves a claim out."""
        now = SystemClock().now_us() // 1_000_000
        base: dict[str, Any] = {
            "iss": self.name,
            "aud": "desk",
            "sub": "ana",
            "iat": now,
            "exp": now + 600,
            "scope": "il.read il.start other",
        }
        return {name: value for name, value in (base | more).items() if value is not None}

    def token(self, *, algorithm: str = "RS256", kid: str | None = None, **more: Any) -> str:
        """A signed token."""
        key = self.ec if algorithm.startswith("ES") else self.rsa
        named = kid or (f"{self.kid}-ec" if algorithm.startswith("ES") else self.kid)
        return jwt.encode(self.claims(**more), key, algorithm=algorithm, headers={"kid": named})
