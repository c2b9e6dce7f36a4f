"""Prices: what the catalogue and the contract say, and that no call costs more than was held."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache

import pytest
from genai_prices import types as listed
from genai_prices.data import providers
from genai_prices.data_snapshot import DataSnapshot
from hypothesis import given, reject
from hypothesis import strategies as st

from interlock.errors import InvalidInputError, UnknownPriceError
from interlock.limits.prices import (
    CustomPrice,
    Price,
    PriceBook,
    Step,
    Usage,
    cost_micro_usd,
    worst_case_micro_usd,
)
from tests.conformance.backend import OwnClock


def clock(*moment: int) -> OwnClock:
    seconds = datetime(*moment, tzinfo=UTC).timestamp()
    return OwnClock(int(seconds * 1_000_000))


NOON = clock(2026, 1, 5, 12)
OWN = CustomPrice(input_usd=Decimal("1.25"), output_usd=Decimal(10))


@cache
def book() -> PriceBook:
    return PriceBook(NOON, {"own": OWN, "openai:gpt-5-mini": OWN})


def flat(micro_usd_per_mtok: int) -> tuple[Step, ...]:
    return (Step(0, micro_usd_per_mtok),)


def test_the_catalogue_is_exact_and_says_what_it_matched() -> None:
    price = book().price("gpt-5-mini-2025-08-07", "openai")
    assert (price.provider, price.model) == ("openai", "gpt-5-mini")
    assert price.source.startswith("genai-prices 0.")
    assert (price.input, price.output) == (flat(250_000), flat(2_000_000))
    assert price.cache_read == flat(25_000)
    usage = Usage(input_tokens=10_000, cache_read_tokens=4_000, output_tokens=500)
    assert cost_micro_usd(price, usage) == 1_500 + 100 + 1_000


def test_the_provider_may_stand_before_the_model() -> None:
    assert book().price("openai:gpt-5") == book().price("gpt-5", "openai") == book().price("gpt-5")
    assert book().price("google-gla:gemini-2.5-pro").provider == "google"


def test_the_contract_wins() -> None:
    prices = [
        book().price("own"),
        book().price("own", "anybody"),
        book().price("gpt-5-mini", "openai"),
        book().price("openai:gpt-5-mini"),
    ]
    assert [price.source for price in prices] == ["contract"] * 4
    assert [price.provider for price in prices] == ["", "anybody", "openai", ""]
    assert {price.input for price in prices} == {flat(1_250_000)}
    assert book().price("gpt-5-mini").source != "contract"
    cached = CustomPrice(
        input_usd=Decimal(1),
        output_usd=Decimal(2),
        cache_read_usd=Decimal("0.0000001"),
        cache_write_usd=Decimal(3),
    )
    price = PriceBook(NOON, {"own": cached}).price("own")
    assert (price.cache_read, price.cache_write) == (flat(1), flat(3_000_000))
    assert price.other_input == flat(3_000_000)


@pytest.mark.parametrize("wrong", ["-1", "NaN", "Infinity", "1000001"])
def test_a_price_that_is_none_is_refused(wrong: str) -> None:
    with pytest.raises(InvalidInputError, match="input_usd must be 0 or more"):
        CustomPrice(input_usd=Decimal(wrong), output_usd=Decimal(1))


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ("no-such-model", "openai"),
        ("no-such-model", None),
        ("gpt-5", "own-server"),
        ("own-server:gpt-5", None),
        ("llama3:8b", None),
        ("text-embedding-3-small", "openai"),
        ("", None),
    ],
)
def test_an_unknown_price_is_refused_by_name_with_the_remedy(
    model: str, provider: str | None
) -> None:
    with pytest.raises(UnknownPriceError) as found:
        book().price(model, provider)
    assert repr(model) in found.value.message
    assert (provider or "model") in found.value.message
    assert "Give its price in the contract" in found.value.message
    assert found.value.fields == {"model": model, "provider": provider or ""}


def test_all_tokens_are_at_the_step_of_all_input() -> None:
    price = book().price("claude-sonnet-4-5", "anthropic")
    assert price.input == (Step(0, 3_000_000), Step(200_000, 6_000_000))
    at, over = (cost_micro_usd(price, Usage(input_tokens=n)) for n in (200_000, 200_001))
    assert (at, over) == (600_000, 1_200_006)
    long = Usage(input_tokens=300_000, cache_read_tokens=100_000, output_tokens=1_000)
    assert cost_micro_usd(price, long) == 1_200_000 + 60_000 + 22_500


def test_the_worst_case_takes_every_token_as_the_dearest_that_is_reached() -> None:
    price = book().price("claude-sonnet-4-5", "anthropic")
    assert price.other_input == (Step(0, 6_000_000), Step(200_000, 12_000_000))
    assert worst_case_micro_usd(price, 200_000, 1000) == 1_200_000 + 15_000
    assert worst_case_micro_usd(price, 200_001, 1000) == 2_400_012 + 22_500


def test_a_price_that_changes_with_the_clock_is_the_dearer_of_now_and_in_an_hour() -> None:
    def deepseek(hour: int, minute: int) -> Price:
        return PriceBook(clock(2025, 6, 1, hour, minute)).price("deepseek-chat", "deepseek")

    cheap, dear = flat(135_000), flat(270_000)
    assert [deepseek(23, 0).input, deepseek(23, 31).input] == [cheap, dear]
    assert [deepseek(16, 29).input, deepseek(16, 30).input] == [dear, cheap]


def test_what_changes_the_price_of_a_request_can_be_said() -> None:
    later = PriceBook(clock(2027, 1, 1))
    standard = later.price("gpt-5", "openai")
    flexible = later.price("gpt-5", "openai", context={"service_tier": "flex"})
    assert flexible.input[0].micro_usd_per_mtok < standard.input[0].micro_usd_per_mtok
    assert later.price("gpt-5", "openai", context={"service_tier": "?"}) == standard


def test_a_fee_per_request_comes_on_top() -> None:
    price = book().price("sonar", "perplexity")
    assert price.micro_usd_per_request > 0
    assert cost_micro_usd(price, Usage()) == price.micro_usd_per_request
    assert worst_case_micro_usd(price, 0, 0) == price.micro_usd_per_request


def test_costs_are_rounded_up() -> None:
    price = book().price("gpt-5-mini", "azure")
    assert cost_micro_usd(price, Usage(input_tokens=1)) == 1
    assert cost_micro_usd(price, Usage()) == 0


def test_a_negative_number_of_tokens_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="output_tokens must be 0 or more"):
        Usage(output_tokens=-1)
    price = book().price("own")
    for counts in ((-1, 0), (0, -1)):
        with pytest.raises(InvalidInputError, match="must be 0 or more"):
            worst_case_micro_usd(price, *counts)


RATES = st.builds(
    lambda base, steps: (Step(0, base), *(Step(*step) for step in sorted(steps.items()))),
    st.integers(0, 10**7),
    st.dictionaries(st.integers(1, 300), st.integers(0, 10**7), max_size=3),
)
PRICES = st.builds(
    Price,
    model=st.text(),
    provider=st.text(),
    source=st.text(),
    input=RATES,
    output=RATES,
    cache_read=RATES,
    cache_write=RATES,
    other_input=RATES,
    other_output=RATES,
    micro_usd_per_request=st.integers(0, 10**6),
)
CATALOGUE = DataSnapshot(providers=providers, from_auto_update=False)
LISTED = [(provider.id, model.id) for provider in providers for model in provider.models]


@st.composite
def _usages(draw: st.DrawFn) -> tuple[int, int, Usage]:
    """Bounds, and a usage within them."""
    bounds = draw(st.tuples(st.integers(0, 400), st.integers(0, 400)))
    sent, got = draw(st.integers(0, bounds[0])), draw(st.integers(0, bounds[1]))
    cuts = sorted(draw(st.tuples(*[st.integers(0, sent)] * 3)))
    usage = Usage(
        input_tokens=sent,
        output_tokens=got,
        cache_read_tokens=cuts[0],
        cache_write_tokens=cuts[1] - cuts[0],
        other_input_tokens=cuts[2] - cuts[1],
        other_output_tokens=draw(st.integers(0, got)),
    )
    return (*bounds, usage)


@given(price=PRICES, bounded=_usages())
def test_no_usage_within_the_bounds_costs_more_than_the_worst_case(
    price: Price, bounded: tuple[int, int, Usage]
) -> None:
    most_input, most_output, usage = bounded
    assert cost_micro_usd(price, usage) <= worst_case_micro_usd(price, most_input, most_output)


@given(price=PRICES)
def test_a_recorded_price_reads_back(price: Price) -> None:
    assert Price.from_header(json.loads(json.dumps(price.as_header()))) == price


@pytest.mark.parametrize("wrong", [{}, {"micro_usd_per_mtok": 5}, {"micro_usd_per_mtok": {}}])
def test_a_header_that_is_no_price_is_said_to_be_none(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidInputError, match="a recorded price is not understood"):
        Price.from_header(wrong)


@given(
    which=st.sampled_from(LISTED),
    sent=st.integers(0, 10**6),
    got=st.integers(0, 10**5),
    cached=st.integers(0, 100),
)
def test_a_cost_is_at_least_what_the_catalogue_itself_says(
    which: tuple[str, str], sent: int, got: int, cached: int
) -> None:
    provider, model = which
    try:
        price = book().price(model, provider)
    except UnknownPriceError:
        reject()
    _, found = CATALOGUE.find_provider_model(model, None, provider, None)
    read = sent * cached // 100
    theirs = found.get_prices(datetime(2026, 1, 5, 12, tzinfo=UTC)).calc_price(
        listed.Usage(input_tokens=sent, output_tokens=got, cache_read_tokens=read)
    )
    ours = cost_micro_usd(
        price, Usage(input_tokens=sent, output_tokens=got, cache_read_tokens=read)
    )
    assert ours >= theirs["total_price"] * 10**6
    assert ours <= worst_case_micro_usd(price, sent, got)


def test_the_catalogue_is_loaded_when_it_is_needed() -> None:
    program = (
        "import sys\n"
        "from interlock.clock import SystemClock\n"
        "from interlock.limits.prices import PriceBook\n"
        "book = PriceBook(SystemClock())\n"
        "assert 'genai_prices' not in sys.modules\n"
        "book.price('gpt-5-mini')\n"
        "assert 'genai_prices' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)
