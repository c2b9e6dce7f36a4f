"""What a call to a model costs: known before it is made, and recorded with it.

Prices come from the contract, else from the catalogue of `genai-prices` as it is installed; nothing
is ever fetched. A model that neither knows is refused before it is called. A `Price` is recorded
with the call it was looked up for, so what the call cost follows from the journal alone.

Law: what any usage within the bounds costs is never more than the worst case of the bounds.

Rates are integers, micro-USD per million tokens (2,500,000 is 2.50 USD), rounded up; so are costs,
in micro-USD.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from interlock.clock import Clock
from interlock.errors import InvalidInputError, UnknownPriceError

if TYPE_CHECKING:
    from genai_prices.data_snapshot import DataSnapshot
    from genai_prices.types import ModelInfo, ModelPrice, Provider

__all__ = [
    "CustomPrice",
    "Price",
    "PriceBook",
    "Step",
    "Usage",
    "cost_micro_usd",
    "worst_case_micro_usd",
]

_CATALOGUE: Final = "genai-prices"
_CONTRACT: Final = "contract"
_MILLION: Final = 1_000_000
_PER_REQUEST: Final = "requests_kcount"
_PER_TOKENS: Final = "_mtok"
# A call that is made now may be priced by the clock of its end: no call takes longer.
_LONGEST_CALL: Final = timedelta(hours=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_RATES: Final = ("input", "cache_read", "cache_write", "other_input", "output", "other_output")
_NO_CONTEXT: Final[Mapping[str, str]] = MappingProxyType({})


class Step(NamedTuple):
    """A rate that holds for all tokens of a call with more than `above_tokens` input tokens."""

    above_tokens: int
    micro_usd_per_mtok: int


Rate = tuple[Step, ...]
"""Steps by `above_tokens`; the first one is the base and holds from the first token."""


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Tokens of one call, each 0 or more.

    `input_tokens` are all that were sent; those read from or written to the provider's cache, and
    `other_input_tokens`, are parts of them. Other tokens are those of another price than plain
    text: audio, images, a cache entry that is kept longer. `other_output_tokens` are a part of
    `output_tokens`. Raises `InvalidInputError` for a negative number.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    other_input_tokens: int = 0
    other_output_tokens: int = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            _check_tokens(field.name, getattr(self, field.name))


def _check_tokens(name: str, value: int) -> None:
    if value < 0:
        raise InvalidInputError(f"{name} must be 0 or more, not {value!r}.", field=name)


@dataclass(frozen=True, kw_only=True)
class Price:
    """What one model costs, as it was at one moment.

    `model` and `provider` are what was matched (`gpt-5-mini`, `openai`), `source` says by whom:
    `contract`, or the catalogue with its version. `other_input` and `other_output` are the dearest
    rates of any kind of token. `micro_usd_per_request` comes on top of every call.
    """

    model: str
    provider: str
    source: str
    input: Rate
    output: Rate
    cache_read: Rate
    cache_write: Rate
    other_input: Rate
    other_output: Rate
    micro_usd_per_request: int = 0

    def as_header(self) -> dict[str, Any]:
        """The price as plain JSON, to be recorded in an event's header."""
        return {
            "model": self.model,
            "provider": self.provider,
            "source": self.source,
            "micro_usd_per_request": self.micro_usd_per_request,
            "micro_usd_per_mtok": {
                name: [list(step) for step in self.rate(name)] for name in _RATES
            },
        }

    @classmethod
    def from_header(cls, header: Mapping[str, Any]) -> Price:
        """The price that `as_header` wrote. Raises `InvalidInputError` for anything else."""
        try:
            rates = {
                name: tuple(Step(int(above), int(rate)) for above, rate in steps)
                for name, steps in header["micro_usd_per_mtok"].items()
            }
            return cls(
                model=header["model"],
                provider=header["provider"],
                source=header["source"],
                micro_usd_per_request=header["micro_usd_per_request"],
                **rates,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidInputError(
                f"a recorded price is not understood ({type(error).__name__}: {error}). It was "
                "written by another version: use that one, or a newer one."
            ) from error

    def rate(self, name: str) -> Rate:
        """One of its rates by its name, such as `input`."""
        return getattr(self, name)


def cost_micro_usd(price: Price, usage: Usage) -> int:
    """What a call cost, in micro-USD, rounded up. All tokens are at the step of all its input."""
    special = usage.cache_read_tokens + usage.cache_write_tokens + usage.other_input_tokens
    plain_output = max(0, usage.output_tokens - usage.other_output_tokens)
    total = max(usage.input_tokens, special)
    parts = (
        (total - special, price.input),
        (usage.cache_read_tokens, price.cache_read),
        (usage.cache_write_tokens, price.cache_write),
        (usage.other_input_tokens, price.other_input),
        (plain_output, price.output),
        (usage.other_output_tokens, price.other_output),
    )
    return _charged(price, sum(count * _at(rate, total) for count, rate in parts))


def worst_case_micro_usd(price: Price, input_tokens: int, max_output_tokens: int) -> int:
    """The most that a call with at most so many tokens can cost, in micro-USD, rounded up.

    Every token counts as one of the dearest kind, at the dearest step that `input_tokens` reaches.
    Raises `InvalidInputError` for a negative number.
    """
    _check_tokens("input_tokens", input_tokens)
    _check_tokens("max_output_tokens", max_output_tokens)
    sent = (price.input, price.cache_read, price.cache_write, price.other_input)
    dearest_input = max(_dearest(rate, input_tokens) for rate in sent)
    got = (price.output, price.other_output)
    dearest_output = max(_dearest(rate, input_tokens) for rate in got)
    return _charged(price, input_tokens * dearest_input + max_output_tokens * dearest_output)


def _charged(price: Price, millionths: int) -> int:
    return -(-millionths // _MILLION) + price.micro_usd_per_request


def _at(rate: Rate, input_tokens: int) -> int:
    found = rate[0]
    for step in rate[1:]:
        if input_tokens > step.above_tokens:
            found = step
    return found.micro_usd_per_mtok


def _dearest(rate: Rate, input_tokens: int) -> int:
    reached = (step for step in rate[1:] if input_tokens > step.above_tokens)
    return max(step.micro_usd_per_mtok for step in (rate[0], *reached))


def _envelope(rates: Iterable[Rate]) -> Rate:
    """The dearest of several rates at every number of input tokens."""
    known = tuple(rates)
    base = Step(0, max(rate[0].micro_usd_per_mtok for rate in known))
    starts = sorted({step.above_tokens for rate in known for step in rate[1:]})
    return (base, *(Step(start, max(_at(rate, start + 1) for rate in known)) for start in starts))


@dataclass(frozen=True, kw_only=True)
class CustomPrice:
    """A price that a contract gives, in USD per million tokens, each 0 or more.

    Cached tokens cost what plain input does where their price is not given. Raises
    `InvalidInputError` for a price that is none.
    """

    input_usd: Decimal
    output_usd: Decimal
    cache_read_usd: Decimal | None = None
    cache_write_usd: Decimal | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value: Decimal | None = getattr(self, field.name)
            if value is not None and not _is_price(value):
                raise InvalidInputError(
                    f"{field.name} must be 0 or more USD per million tokens, not {value}.",
                    field=field.name,
                )


class PriceBook:
    """Looks prices up. The catalogue is loaded when it is first needed, which takes 0.2 s.

    `custom`: prices of the contract by model, `gpt-5-mini` or `openai:gpt-5-mini`; they win over
    the catalogue. `clock` says which of a model's prices holds, where they change with time.
    """

    def __init__(self, clock: Clock, custom: Mapping[str, CustomPrice] | None = None) -> None:
        self._clock = clock
        self._custom = dict(custom or {})
        self._catalogue: DataSnapshot | None = None
        self._version = ""

    def price(
        self,
        model_name: str,
        provider: str | None = None,
        *,
        context: Mapping[str, str] = _NO_CONTEXT,
    ) -> Price:
        """What a model costs now.

        `model_name` is the provider's name of it; with the provider in front (`openai:gpt-5-mini`)
        where none is given. A provider that is given is never guessed round: another one's model
        of the same name may cost anything. `context` names what changes the price of a request,
        such as `{"service_tier": "priority"}`. Raises `UnknownPriceError`.
        """
        found = self._of_contract(model_name, provider)
        return found or self._of_catalogue(model_name, provider, context)

    def _of_contract(self, model_name: str, provider: str | None) -> Price | None:
        names = (f"{provider}:{model_name}", model_name) if provider else (model_name,)
        found = next((self._custom[name] for name in names if name in self._custom), None)
        return None if found is None else _custom_price(found, model_name, provider or "")

    def _of_catalogue(
        self, model_name: str, provider: str | None, context: Mapping[str, str]
    ) -> Price:
        matched, model = self._match(model_name, provider)
        if not any(model is known for known in matched.models):
            # As the catalogue has it: what another provider serves knows no variants.
            context = _NO_CONTEXT
        now = _EPOCH + timedelta(microseconds=self._clock.now_us())
        listed = [model.get_prices(at, context) for at in (now, now + _LONGEST_CALL)]
        rates = [_rates(prices) for prices in listed]
        if not all(rates):
            raise _unknown(model_name, provider, "has no price per token in the catalogue")
        return Price(
            model=model.id,
            provider=matched.id,
            source=f"{_CATALOGUE} {self._version}",
            micro_usd_per_request=max(map(_per_request, listed)),
            **{name: _envelope(each[name] for each in rates) for name in _RATES},
        )

    def _match(self, model_name: str, provider: str | None) -> tuple[Provider, ModelInfo]:
        name, of_provider = model_name, provider
        if provider is None and ":" in model_name:
            of_provider, _, name = model_name.partition(":")
        try:
            return self._loaded().find_provider_model(name, None, of_provider, None)
        except LookupError:
            raise _unknown(model_name, provider, "is not in the catalogue") from None

    def _loaded(self) -> DataSnapshot:
        if self._catalogue is None:
            from importlib.metadata import version

            from genai_prices.data import providers
            from genai_prices.data_snapshot import DataSnapshot

            # A snapshot of our own: the library's may be replaced by one that fetches.
            self._catalogue = DataSnapshot(providers=providers, from_auto_update=False)
            self._version = version(_CATALOGUE)
        return self._catalogue


def _custom_price(custom: CustomPrice, model: str, provider: str) -> Price:
    plain, output = _flat(custom.input_usd), _flat(custom.output_usd)
    cached = [
        plain if value is None else _flat(value)
        for value in (custom.cache_read_usd, custom.cache_write_usd)
    ]
    return Price(
        model=model,
        provider=provider,
        source=_CONTRACT,
        input=plain,
        output=output,
        cache_read=cached[0],
        cache_write=cached[1],
        other_input=_envelope((plain, *cached)),
        other_output=output,
    )


def _rates(prices: ModelPrice) -> dict[str, Rate]:
    """The rates by the names of `Price`; none where input or output has no price per token."""
    listed = {
        name.removesuffix(_PER_TOKENS): _rate_of(value)
        for name, value in cast("dict[str, object]", vars(prices)).items()
        if name.endswith(_PER_TOKENS) and value is not None
    }
    if "input" not in listed or "output" not in listed:
        return {}
    plain = listed["input"]
    return {
        "input": plain,
        "output": listed["output"],
        "cache_read": listed.get("cache_read", plain),
        "cache_write": listed.get("cache_write", plain),
        "other_input": _envelope(rate for name, rate in listed.items() if "output" not in name),
        "other_output": _envelope(rate for name, rate in listed.items() if "output" in name),
    }


def _rate_of(value: object) -> Rate:
    from genai_prices.types import TieredPrices

    if isinstance(value, TieredPrices):
        steps = (Step(tier.start, _micro_usd(tier.price)) for tier in value.tiers)
        return (Step(0, _micro_usd(value.base)), *steps)
    return _flat(cast("Decimal", value))


def _flat(usd_per_mtok: Decimal) -> Rate:
    return (Step(0, _micro_usd(usd_per_mtok)),)


def _per_request(prices: ModelPrice) -> int:
    value = cast("dict[str, object]", vars(prices)).get(_PER_REQUEST)
    # USD per thousand requests.
    return 0 if value is None else max(step.micro_usd_per_mtok for step in _rate_of(value)) // 1000


def _micro_usd(usd: Decimal) -> int:
    if not _is_price(usd):
        raise InvalidInputError(f"{usd} USD is no price.")
    numerator, denominator = usd.as_integer_ratio()
    return -(-numerator * _MILLION // denominator)


def _is_price(usd: Decimal) -> bool:
    return usd.is_finite() and 0 <= usd <= _MILLION


def _unknown(model_name: str, provider: str | None, why: str) -> UnknownPriceError:
    called = f"model {model_name!r}" + (f" of provider {provider!r}" if provider else "")
    return UnknownPriceError(
        f"{called} {why}, so no budget can be held for a call to it. Give its price in the "
        "contract (USD per million tokens of input and of output), or take a model with a price.",
        model=model_name,
        provider=provider or "",
    )
