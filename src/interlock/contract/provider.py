"""How fast a provider of models may be asked, and when it is left alone."""

from __future__ import annotations

from pydantic import Field

from interlock.contract.terms import CallSeconds, Terms

__all__ = ["ProviderTerms"]


class ProviderTerms(Terms):
    """Rate limits and circuit breaker for one provider, the part of a model's name before ':'."""

    requests_per_minute: int | None = Field(
        default=None,
        ge=1,
        le=10_000_000,
        description="Most requests a minute; null is no limit.",
    )
    tokens_per_minute: int | None = Field(
        default=None,
        ge=1,
        le=10**12,
        description="Most tokens a minute, input and output together; null is no limit.",
    )
    breaker_failures: int = Field(
        default=5,
        ge=1,
        le=1000,
        description="So many failures in a row, and the provider is not asked for a while.",
    )
    breaker_cooldown_seconds: CallSeconds = Field(
        default=30.0, description="How long it is not asked then."
    )
