"""What gives access: keys, tokens, passwords."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Final

from interlock.tools.masking.found import Found

__all__ = ["find_secrets"]

# Source: RFC 7468, section 10 and 13; without its end, as in a text that was cut, up to there.
_PEM: Final = re.compile(
    r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----"
    r"(?:[\s\S]*?-----END (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----|[A-Za-z0-9+/=\s:,\-\\]*)"
)
# Source: RFC 7519 and 7515: three parts in base64url, the first of which is a JSON object.
_JWT: Final = re.compile(r"eyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{4,}(?:\.[A-Za-z0-9_\-]*)*")
# Source: RFC 6750 section 2.1 and RFC 7617 section 2.
# The first letter stands before what ignores case: so the engine looks at few places of a text.
_HEADER: Final = re.compile(
    r"[bBdDaA](?i:(?<=\bb)earer|(?<=\bb)asic|(?<=\bd)igest|(?<=\ba)pikey)"
    r"[ \t]+(?P<token>(?i:[A-Za-z0-9\-._~+/]{8,})=*)"
)
# Source: RFC 3986, section 3.2.1: user:password before the host.
_URL: Final = re.compile(
    r"[A-Za-z][A-Za-z0-9+.\-]{1,30}://[^\s/?#@:\"'<>]*:(?P<password>[^\s/?#\"'<>]+)@"
)
# Prefixes, each from the documentation of who issues the keys.
_PREFIXED: Final = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"sk-(?:ant-|proj-|svcacct-|admin-|or-v1-|lf-)?[A-Za-z0-9_\-]{16,}"  # OpenAI, Anthropic, ...
    r"|(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}"  # AWS access key ids
    r"|AIza[A-Za-z0-9_\-]{35}"  # Google API keys
    r"|ya29\.[A-Za-z0-9_\-]{20,}"  # Google OAuth
    r"|GOCSPX-[A-Za-z0-9_\-]{20,}"
    r"|gh[pousr]_[A-Za-z0-9]{36,}"  # GitHub
    r"|github_pat_[A-Za-z0-9_]{22,}"
    r"|gl(?:pat|dt|rt|ptt|cbt|soat)-[A-Za-z0-9_\-.]{20,}"  # GitLab
    r"|xox[abeoprs]-[A-Za-z0-9\-]{10,}"  # Slack
    r"|xapp-[A-Za-z0-9\-]{10,}"
    r"|(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{10,}"  # Stripe
    r"|whsec_[A-Za-z0-9+/=]{16,}"
    r"|SG\.[A-Za-z0-9_\-]{16,}\.[A-Za-z0-9_\-]{16,}"  # SendGrid
    r"|npm_[A-Za-z0-9]{36}"
    r"|pypi-[A-Za-z0-9_\-]{32,}"
    r"|hf_[A-Za-z0-9]{30,}"  # Hugging Face
    r"|dop_v1_[a-f0-9]{64}"  # DigitalOcean
    r"|shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}"  # Shopify
    r"|hv[sbr]\.[A-Za-z0-9_\-]{20,}"  # HashiCorp Vault
    r"|dckr_pat_[A-Za-z0-9_\-]{20,}"
    r"|AGE-SECRET-KEY-1[A-Z0-9]{40,}"
    r"|PMAK-[a-f0-9]{24}-[a-f0-9]{34}"  # Postman
    r"|lin_api_[A-Za-z0-9]{32,}"
    r"|sq0(?:atp|csp)-[A-Za-z0-9_\-]{22,}"  # Square
    r"|key-[a-f0-9]{32}"  # Mailgun
    r"|EAAC[A-Za-z0-9]{30,}"  # Meta
    r"|ntn_[A-Za-z0-9]{40,}"  # Notion
    r"|gsk_[A-Za-z0-9]{40,}"  # Groq
    r"|r8_[A-Za-z0-9]{37,}"  # Replicate
    r"|ilk_[a-z2-7]{10}_[A-Za-z0-9_\-]{20,}"  # our own
    r"|AccountKey=[A-Za-z0-9+/]{40,}={0,2}"  # Azure storage
    r")"
)
# A name that says what the value is, in the forms of JSON, YAML, environment files and queries.
_NAMED: Final = re.compile(
    r"(?P<name>[pPmMsS\u017ftTaAcC](?=[aAwWoOeEpPcCrRlL])(?i:"
    r"(?<=p)ass(?:word|wd|phrase)?|(?<=p)wd|(?<=m)ot[ _]de[ _]passe|(?<=s)ecret|(?<=t)oken|"
    r"(?<=a)pi[_\- ]?key|(?<=a)ccess[_\- ]?key|(?<=p)rivate[_\- ]?key|"
    r"(?<=c)lient[_\- ]?secret))"
    r"[\"']?[ \t]{0,3}(?::=|=>|[:=])[ \t]{0,3}(?P<quote>[\"']?)"
    r"(?P<value>[^\s\"',;&<>\[\]{}()]{6,})"
)
_LEAST_BITS: Final = 3.0


def find_secrets(text: str) -> Iterator[Found]:
    """Private keys, tokens, passwords in URLs, keys by their prefix, values by their name."""
    if "PRIVATE KEY" in text:
        yield from (Found(*match.span(), "secret") for match in _PEM.finditer(text))
    if "eyJ" in text:
        yield from (Found(*match.span(), "secret") for match in _JWT.finditer(text))
    if "://" in text:
        yield from (Found(*match.span("password"), "secret") for match in _URL.finditer(text))
    for match in _PREFIXED.finditer(text):
        yield Found(*match.span(), "secret")
    yield from _told(text)


def _told(text: str) -> Iterator[Found]:
    for match in _HEADER.finditer(text):
        if looks_random(match["token"]):
            yield Found(*match.span("token"), "secret")
    if "=" not in text and ":" not in text:
        return
    for match in _NAMED.finditer(text):
        is_password = match["name"].lower().startswith(("pass", "pwd", "mot"))
        if is_password or looks_random(match["value"]):
            yield Found(*match.span("value"), "secret")


def looks_random(text: str) -> bool:
    """Whether a text has no less than 3 bits to a sign, and more than one class of signs.

    Source: Shannon's entropy of its own signs, as detect-secrets and truffleHog use it; words of a
    language stay below it or have letters of one case only.
    """
    classes = (str.islower, str.isupper, str.isdigit)
    mixed = sum(any(map(one, text)) for one in classes)
    size = len(text)
    bits = -sum(n / size * math.log2(n / size) for n in Counter(text).values())
    return mixed >= 2 and bits >= _LEAST_BITS
