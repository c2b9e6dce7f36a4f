"""OAuth tokens: only what the issuer signed for this server, now, by a listed algorithm."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from interlock.entry.auth_identity import Identity
from interlock.entry.auth_tokens import (
    IssuerUnreachableError,
    TokenRefusedError,
    Tokens,
    read_token_terms,
)
from interlock.errors import InvalidInputError
from tests.support.issuer import Issuer
from tests.support.local import MovableClock

ISSUER = Issuer()
TERMS = "issuer: https://login.example/\naudience: desk\njwks: keys.json\nroles_prefix: il.\n"


def tokens(folder: Path, more: str = "", clock: MovableClock | None = None) -> Tokens:
    """What takes the issuer's tokens."""
    (folder / "keys.json").write_text(ISSUER.key_set())
    (folder / "tokens.yaml").write_text(TERMS + more)
    return Tokens(read_token_terms(folder / "tokens.yaml"), clock or MovableClock())


def identify(checker: Tokens, token: str) -> Identity:
    """Whom a token names."""
    return asyncio.run(checker.identify(token))


def refusal(checker: Tokens, token: str) -> str:
    """Why a token is refused; it holds nothing of the token."""
    with pytest.raises(TokenRefusedError) as caught:
        identify(checker, token)
    assert all(part not in str(caught.value) for part in token.split(".") if len(part) > 8)
    return str(caught.value)


def test_a_good_token_names_a_person(tmp_path: Path) -> None:
    who = identify(tokens(tmp_path), ISSUER.token())
    assert (who.name, who.kind, who.tenant) == ("ana", "person", "default")
    assert who.roles == {"read", "start"}


def test_claims_say_tenant_roles_and_client(tmp_path: Path) -> None:
    checker = tokens(tmp_path, "tenant_claim: org\nname_claim: email\nroles_claim: roles\n")
    token = ISSUER.token(org="acme", email="a@x", roles=["il.decide", "boss"], azp="inspector")
    who = identify(checker, token)
    assert (who.name, who.tenant, who.client) == ("a@x", "acme", "inspector")
    assert who.roles == {"decide"}
    assert "'org'" in refusal(checker, ISSUER.token(email="a@x"))


@pytest.mark.parametrize("more", [{"client_id": "bot", "sub": "bot"}, {"idtyp": "app"}])
def test_a_token_without_a_person_is_an_agents(tmp_path: Path, more: dict[str, Any]) -> None:
    who = identify(tokens(tmp_path), ISSUER.token(**more))
    assert who.kind == "agent"
    assert not who.may("decide")


def test_elliptic_curves_are_taken_too(tmp_path: Path) -> None:
    assert identify(tokens(tmp_path), ISSUER.token(algorithm="ES256")).name == "ana"


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"aud": "other"}, "another server"),
        ({"aud": None}, "'aud'"),
        ({"iss": "https://evil.example/"}, "another issuer"),
        ({"iss": None}, "'iss'"),
        ({"exp": None}, "'exp'"),
        ({"exp": 1}, "expired"),
        ({"exp": True}, "'exp'"),
        ({"nbf": 4_000_000_000}, "not valid yet"),
        ({"sub": None}, "'sub'"),
        ({"sub": 7}, "wrong"),
        ({"sub": "a\nb"}, "'sub'"),
    ],
)
def test_what_a_token_must_say(tmp_path: Path, claims: dict[str, Any], why: str) -> None:
    assert why in refusal(tokens(tmp_path), ISSUER.token(**claims))


def test_it_expires_by_our_own_clock(tmp_path: Path) -> None:
    clock = MovableClock()
    checker = tokens(tmp_path, "leeway_seconds: 30\n", clock)
    token = ISSUER.token()
    clock.move(timedelta(seconds=610))
    assert identify(checker, token).name == "ana"
    clock.move(timedelta(seconds=30))
    assert "expired" in refusal(checker, token)


def encoded(part: dict[str, Any]) -> str:
    """A part of a token."""
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


def unsigned() -> str:
    return jwt.encode(ISSUER.claims(), "", algorithm="none", headers={"kid": "one"})


def with_public_key_as_secret() -> str:
    """The classic confusion: HMAC with the public key, which everybody knows."""
    public = ISSUER.rsa.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    header = encoded({"alg": "HS256", "typ": "JWT", "kid": "one"})
    signed = f"{header}.{encoded(ISSUER.claims())}"
    mac = hmac.digest(public, signed.encode(), "sha256")
    return f"{signed}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"


def of_another() -> str:
    return Issuer().token()


def of_an_unknown_key() -> str:
    return Issuer().token(kid="two")


def with_another_algorithm() -> str:
    return ISSUER.token(algorithm="PS256")


def with_a_key_of_another_kind() -> str:
    return ISSUER.token(algorithm="ES256", kid="one")


def changed() -> str:
    header, claims, signature = ISSUER.token().split(".")
    padded = claims + "=" * (-len(claims) % 4)
    other = json.loads(base64.urlsafe_b64decode(padded)) | {"scope": "il.admin"}
    return f"{header}.{encoded(other)}.{signature}"


@pytest.mark.parametrize(
    "forged",
    [
        unsigned,
        with_public_key_as_secret,
        of_another,
        of_an_unknown_key,
        with_another_algorithm,
        with_a_key_of_another_kind,
        changed,
        lambda: "x",
        lambda: "a.b.c",
        lambda: "x" * 20_000,
    ],
)
def test_forgeries_are_refused(tmp_path: Path, forged: Callable[[], str]) -> None:
    refusal(tokens(tmp_path), forged())


def test_a_new_set_of_keys_is_read(tmp_path: Path) -> None:
    checker = tokens(tmp_path)
    assert identify(checker, ISSUER.token()).name == "ana"
    other = Issuer(kid="two")
    (tmp_path / "keys.json").write_text(other.key_set() + "\n")
    assert identify(checker, other.token()).name == "ana"
    refusal(checker, ISSUER.token())


@pytest.mark.parametrize("text", ["", "{}", '{"keys": 3}', "[1"])
def test_without_the_issuers_keys_nobody_can_say(tmp_path: Path, text: str) -> None:
    checker = tokens(tmp_path)
    (tmp_path / "keys.json").write_text(text)
    with pytest.raises(IssuerUnreachableError):
        identify(checker, ISSUER.token())


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("algorithms: [none]\n", "algorithms"),
        ("algorithms: [HS256]\n", "algorithms"),
        ("algorithms: []\n", "algorithms"),
        ("jwks: http://login.example/keys\n", "https"),
        ("isuer: x\n", "isuer"),
        ("leeway_seconds: 301\n", "leeway_seconds"),
        (": [", "cannot be read"),
    ],
)
def test_unsafe_terms_are_refused(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "tokens.yaml"
    path.write_text(TERMS.replace("jwks: keys.json\n", "") + "jwks: keys.json\n")
    name = text.partition(":")[0]
    kept = [line for line in path.read_text().splitlines() if not line.startswith(f"{name}:")]
    path.write_text("\n".join([*kept, text]))
    with pytest.raises(InvalidInputError, match=why):
        read_token_terms(path)
