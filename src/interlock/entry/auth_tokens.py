"""OAuth bearer tokens: JSON Web Tokens that an issuer of one's own has signed.

A file says whose tokens are taken:

    issuer: https://login.example.com/
    audience: https://desk.example.com/mcp
    jwks: https://login.example.com/.well-known/jwks.json   # or a file
    tenant_claim: org

Checked are the signature by a key of the issuer's set, the algorithm against a list of asymmetric
ones, issuer, audience, and the times (RFC 7519, RFC 8725). `none` and shared secrets are never
taken. Nothing of a token is logged or quoted.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, cast
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from interlock.base.codec import describe
from interlock.clock import Clock
from interlock.entry.auth_identity import Identity
from interlock.entry.hosts import is_loopback
from interlock.errors import InvalidInputError

if TYPE_CHECKING:
    from jwt import PyJWK

__all__ = [
    "IssuerUnreachableError",
    "TokenRefusedError",
    "TokenTerms",
    "Tokens",
    "read_token_terms",
]

_log = logging.getLogger("interlock.http")
_LONGEST_TOKEN: Final = 16_384
_LARGEST_SET_BYTES: Final = 1_000_000
_FETCH_SECONDS: Final = 5.0
# Issuers change keys over days; a token with a key that is not known yet is looked up sooner.
_FRESH_SECONDS: Final = 600.0
_BETWEEN_FETCHES_SECONDS: Final = 10.0
_LONGEST_NAME: Final = 200

Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]
Text = Annotated[str, Field(min_length=1, max_length=2000)]


class TokenTerms(BaseModel):
    """Whose tokens are taken, and what their claims mean.

    `name_claim` names the caller. The tenant is that of `tenant_claim`, or `tenant` for all. Roles
    are the texts of `roles_claim`, a list or separated by spaces, that begin with `roles_prefix`,
    which is cut off. `leeway_seconds`: how far clocks may differ.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    issuer: Text
    audience: Text
    jwks: Text
    algorithms: Annotated[tuple[Algorithm, ...], Field(min_length=1)] = ("RS256", "ES256")
    name_claim: Text = "sub"
    tenant_claim: Text | None = None
    tenant: Text = "default"
    roles_claim: Text = "scope"
    roles_prefix: str = ""
    leeway_seconds: Annotated[int, Field(ge=0, le=300)] = 30

    @model_validator(mode="after")
    def _jwks_is_safe(self) -> TokenTerms:
        parts = urlsplit(self.jwks)
        if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            raise ValueError("jwks: fetch the issuer's keys over https, or give a file")
        return self

    @property
    def is_fetched(self) -> bool:
        """Whether the keys come from a URL."""
        return urlsplit(self.jwks).scheme in ("http", "https")


class TokenRefusedError(Exception):
    """A token proves nothing here. The text says why, without anything of the token."""


class IssuerUnreachableError(Exception):
    """The issuer's keys could not be had, so nobody can say whether a token is good."""


def read_token_terms(path: Path) -> TokenTerms:
    """Read the file; a relative `jwks` file is looked for beside it. Raises `InvalidInputError`."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    reader: Any = YAML(typ="safe", pure=True)
    try:
        terms = TokenTerms.model_validate(reader.load(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        raise InvalidInputError(
            f"the file of tokens {str(path)!r} cannot be read: {error}"
        ) from error
    except ValidationError as error:
        raise InvalidInputError(f"the file of tokens {str(path)!r}: {describe(error)}") from error
    if terms.is_fetched:
        return terms
    return terms.model_copy(update={"jwks": str(path.parent / terms.jwks)})


class Tokens:
    """Checks tokens by the terms of one issuer."""

    def __init__(self, terms: TokenTerms, clock: Clock) -> None:
        self.terms = terms
        self._clock = clock
        self._keys: tuple[Mapping[str, Any], ...] = ()
        self._seen: tuple[int, ...] = ()
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        self._fetching = asyncio.Lock()

    async def identify(self, token: str) -> Identity:
        """Whom a token names. Raises `TokenRefusedError` or `IssuerUnreachableError`."""
        import jwt

        if len(token) > _LONGEST_TOKEN:
            raise TokenRefusedError("it is too long")
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError as error:
            raise TokenRefusedError("it is no JSON Web Token") from error
        algorithm = header.get("alg")
        if algorithm not in self.terms.algorithms:
            raise TokenRefusedError("its algorithm is not among those that are taken")
        key = await self._key(header.get("kid"), str(algorithm))
        return self._identity(self._claims(token, key, str(algorithm)))

    def _claims(self, token: str, key: PyJWK, algorithm: str) -> dict[str, Any]:
        import jwt

        terms = self.terms
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=terms.audience,
                issuer=terms.issuer,
                options={
                    "require": ["exp", "iss", "aud"],
                    # By our own clock, below.
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                    "enforce_minimum_key_length": True,
                },
            )
        except (jwt.InvalidAudienceError, jwt.InvalidIssuerError) as error:
            raise TokenRefusedError(
                "it was issued for another server or by another issuer"
            ) from error
        except jwt.MissingRequiredClaimError as error:
            raise TokenRefusedError(f"it has no claim {error.claim!r}") from error
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise TokenRefusedError("its signature or its form is wrong") from error
        self._check_times(claims)
        return claims

    def _check_times(self, claims: Mapping[str, Any]) -> None:
        now, leeway = self._clock.now_us() / 1e6, self.terms.leeway_seconds
        if now >= _seconds(claims, "exp") + leeway:
            raise TokenRefusedError("it has expired")
        if "nbf" in claims and now < _seconds(claims, "nbf") - leeway:
            raise TokenRefusedError("it is not valid yet")

    def _identity(self, claims: Mapping[str, Any]) -> Identity:
        terms = self.terms
        name = _text(claims, terms.name_claim)
        tenant = terms.tenant if terms.tenant_claim is None else _text(claims, terms.tenant_claim)
        client = claims.get("client_id") or claims.get("azp")
        # RFC 9068, section 2.2: where no person takes part, the subject is the client.
        is_agent = claims.get("idtyp") == "app" or (
            client is not None and claims.get("sub") == client
        )
        return Identity(
            name=name,
            kind="agent" if is_agent else "person",
            tenant=tenant,
            roles=frozenset(self._roles(claims.get(terms.roles_claim))),
            client=client if isinstance(client, str) and client else name,
            credential=f"token of {terms.issuer}",
        )

    def _roles(self, claim: Any) -> list[str]:
        listed = cast("list[Any]", claim) if isinstance(claim, list) else str(claim or "").split()
        prefix = self.terms.roles_prefix
        return [str(one).removeprefix(prefix) for one in listed if str(one).startswith(prefix)]

    # The issuer's keys.

    async def _key(self, kid: object, algorithm: str) -> PyJWK:
        await self._refresh(wanted=kid)
        fitting = [
            key
            for key in self._keys
            if (kid is None or key.get("kid") == kid)
            and key.get("use", "sig") == "sig"
            and key.get("alg", algorithm) == algorithm
            and key.get("kty") in ("RSA", "EC")
        ]
        # Without an id there is nothing to choose by.
        if len(fitting) != 1:
            raise TokenRefusedError("the issuer has no key that it could be signed with")
        return _built(fitting[0], algorithm)

    async def _refresh(self, *, wanted: object) -> None:
        if not self.terms.is_fetched:
            self._read_file()
            return
        async with self._fetching:
            if not self._is_due(wanted):
                return
            self._tried_at = self._clock.boot_seconds()
            try:
                self._keys = _keys_in(await _fetched(self.terms.jwks))
            except IssuerUnreachableError as error:
                # Keys that were good stay so while the issuer is away.
                if self._fetched_at is None:
                    raise
                _log.warning("the issuer's keys could not be fetched again: %s", error)
                return
            self._fetched_at = self._tried_at

    def _is_due(self, wanted: object) -> bool:
        now = self._clock.boot_seconds()
        if self._tried_at is not None and now - self._tried_at < _BETWEEN_FETCHES_SECONDS:
            if self._fetched_at is None:
                raise IssuerUnreachableError("the issuer's keys could not be fetched a moment ago")
            return False
        known = any(key.get("kid") == wanted for key in self._keys)
        stale = self._fetched_at is None or now - self._fetched_at > _FRESH_SECONDS
        return stale or not known

    def _read_file(self) -> None:
        path = Path(self.terms.jwks)
        try:
            status = path.stat()
            seen = (status.st_mtime_ns, status.st_size, status.st_ino)
            if seen != self._seen:
                self._keys = _keys_in(path.read_bytes())
                self._seen = seen
        except OSError as error:
            raise IssuerUnreachableError(f"{path.name}: {error.strerror or error}") from error


def _built(key: Mapping[str, Any], algorithm: str) -> PyJWK:
    import jwt

    try:
        return jwt.PyJWK(dict(key), algorithm=algorithm)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError) as error:
        raise TokenRefusedError("the issuer's key does not fit its algorithm") from error


def _keys_in(text: bytes) -> tuple[Mapping[str, Any], ...]:
    """The keys of a JSON Web Key Set (RFC 7517)."""
    try:
        return tuple(dict(key) for key in json.loads(text)["keys"])
    except (ValueError, KeyError, TypeError) as error:
        raise IssuerUnreachableError("that is no JSON Web Key Set") from error


async def _fetched(url: str) -> bytes:
    import httpx

    try:
        async with (
            httpx.AsyncClient(timeout=_FETCH_SECONDS, follow_redirects=False) as client,
            asyncio.timeout(2 * _FETCH_SECONDS),
            client.stream("GET", url) as answer,
        ):
            answer.raise_for_status()
            parts: list[bytes] = []
            size = 0
            async for part in answer.aiter_bytes():
                parts.append(part)
                size += len(part)
                if size > _LARGEST_SET_BYTES:
                    raise IssuerUnreachableError("the answer is too large")
            return b"".join(parts)
    except (httpx.HTTPError, TimeoutError) as error:
        raise IssuerUnreachableError(f"{type(error).__name__} at {urlsplit(url).netloc}") from error


def _seconds(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TokenRefusedError(f"its claim {name!r} is no moment")
    return float(value)


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    if (
        not isinstance(value, str)
        or not 1 <= len(value) <= _LONGEST_NAME
        or not value.isprintable()
    ):
        raise TokenRefusedError(f"its claim {name!r} is no name")
    return value
