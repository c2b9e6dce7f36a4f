"""The offline decider as a model, the agent that asks it, and what is said of a model's use."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic_ai import ModelResponse
from pydantic_ai.messages import ModelMessage, ModelRequest, ToolCallPart, ToolReturnPart
from pydantic_ai.models import Model
from pydantic_ai.models.function import AgentInfo, FunctionModel

from examples.support_desk.agent import desk_app
from examples.support_desk.answer import TicketAnswer, ticket_agent
from examples.support_desk.decider import OFFLINE, NearestExamples
from examples.support_desk.desk_model import NearestExamplesModel
from examples.support_desk.handbook import read_handbook
from examples.support_desk.helpdesk import HelpDesk
from examples.support_desk.home import HANDBOOK, TICKETS, TRAIN
from examples.support_desk.labelled import read_labelled
from examples.support_desk.model_use import ModelUse
from examples.support_desk.refunds import RefundService
from interlock.contract import examine_file

CONTRACT = Path(__file__).parents[3] / "examples" / "support_desk" / "contracts" / "desk.yaml"
BOOK = read_handbook(HANDBOOK)
RIGHT = {"category": "order_status", "queue": "shipping-team", "confidence": 1, "reply": "Soon."}


@pytest.fixture(scope="module")
def decider() -> Iterator[NearestExamples]:
    with NearestExamples(read_labelled(TRAIN)) as decider:
        yield decider


def ask(model: Model, decider: NearestExamples, text: str) -> TicketAnswer:
    """The agent's answer outside of any run: it is an agent like others."""
    return asyncio.run(ticket_agent(model, decider, BOOK).run(text)).output


def test_the_offline_model_answers_what_the_decider_decides(decider: NearestExamples) -> None:
    model = NearestExamplesModel(decider, BOOK)
    for message in read_labelled(TICKETS):
        decision = decider.decide(message.text)
        assert decision.category is not None
        entry = BOOK.entry(decision.category)
        answer = ask(model, decider, message.text)
        assert (answer.category, answer.confidence) == (decision.category, decision.confidence)
        assert (answer.queue, answer.reply) == (entry.queue, entry.reply)


@pytest.mark.parametrize("text", ["Grüezi!", "?!"])
def test_where_no_word_is_known_the_offline_model_names_no_category(
    decider: NearestExamples, text: str
) -> None:
    answer = ask(NearestExamplesModel(decider, BOOK), decider, text)
    assert (answer.category, answer.confidence) == (None, 0)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"category": "weather"}, "'weather' is no category. The categories are: "),
        ({"queue": "billing-team"}, "order_status belongs to 'shipping-team'"),
        ({"confidence": 7}, "less than or equal to 1"),
        ({"reply": ""}, "at least 1 character"),
        ({"mood": "good"}, "Extra inputs are not permitted"),
    ],
)
def test_an_answer_against_the_handbook_is_asked_for_again_with_the_reason(
    decider: NearestExamples, wrong: dict[str, object], told: str
) -> None:
    reasons: list[str] = []

    async def respond(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        parts = [part for m in messages if isinstance(m, ModelRequest) for part in m.parts]
        reasons.extend(str(part.content) for part in parts if isinstance(part, ToolReturnPart))
        answer = RIGHT if reasons else RIGHT | wrong
        return ModelResponse(parts=[ToolCallPart(info.output_tools[0].name, answer)])

    answer = ask(FunctionModel(respond), decider, "where is it")
    assert answer == TicketAnswer.model_validate(RIGHT)
    (reason,) = reasons
    assert told in reason


def test_a_model_is_told_the_handbook_and_may_look_up_similar_messages(
    decider: NearestExamples,
) -> None:
    seen: list[AgentInfo] = []

    async def respond(_: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        seen.append(info)
        name = info.output_tools[0].name if len(seen) > 1 else "similar_messages"
        given = RIGHT if len(seen) > 1 else {"text": "where is my parcel"}
        return ModelResponse(parts=[ToolCallPart(name, given)])

    ask(FunctionModel(respond), decider, "where is it")
    told = seen[0].instructions or ""
    for category in decider.categories:
        assert BOOK.entry(category).reply in told
    (tool,) = seen[0].function_tools
    examined = examine_file(CONTRACT)
    assert examined.findings == ()
    assert examined.contract is not None
    assert set(examined.contract.tools) == {tool.name}


def test_the_contract_is_that_of_the_desks_agent(decider: NearestExamples, tmp_path: Path) -> None:
    def no_desk() -> HelpDesk:
        raise AssertionError("nothing is asked of a help desk here")

    def no_refunds() -> RefundService:
        raise AssertionError("nothing is asked of a refund service here")

    store = f"sqlite:///{tmp_path}/journal.db"
    app = desk_app(no_desk, decider, BOOK, refunds=no_refunds, store=store)
    assert app.contracts.keys() == app.agents.keys()
    assert app.models.keys() == {OFFLINE} == app.contracts["triage"].prices.keys()


def test_what_is_said_of_a_models_use() -> None:
    offline = ModelUse(
        model=OFFLINE, answers=1, input_tokens=5, output_tokens=5, cost_usd=Decimal(0)
    )
    assert offline.sentence() == f"Decided by {NearestExamples.method}."
    paid = ModelUse(
        model="a:b", answers=1200, input_tokens=9000, output_tokens=10, cost_usd=Decimal("1.5")
    )
    assert paid.sentence() == (
        "Decided by the model a:b: 1,200 answers, 9,000 tokens in, 10 out, $1.5000."
    )
    unknown = ModelUse(model="a:b", answers=0, input_tokens=0, output_tokens=0, cost_usd=None)
    assert unknown.sentence().endswith("0 out, an unknown price.")


def test_the_policies_fit_the_tools_and_somebody_may_approve(
    decider: NearestExamples, tmp_path: Path
) -> None:
    def no_desk() -> HelpDesk:
        raise AssertionError("nothing is asked of a help desk here")

    def no_refunds() -> RefundService:
        raise AssertionError("nothing is asked of a refund service here")

    store = f"sqlite:///{tmp_path}/journal.db"
    app = desk_app(no_desk, decider, BOOK, refunds=no_refunds, store=store)
    roles = app.gateway().roles
    assert roles is not None
    assert roles.roles["billing-lead"]
    refund = app.tools["refund"]
    assert (refund.effect, refund.standing.destinations) == ("irreversible", ("account",))


@pytest.mark.parametrize(
    ("where", "named"),
    [("to iban#1", "iban#1"), ("to email#2.", "email#2"), ("back", None), ("it to #3", None)],
)
def test_the_offline_decider_says_where_the_money_is_to_go(
    decider: NearestExamples, where: str, named: str | None
) -> None:
    text = f"please cancel my order, pay {where}"
    answer = ask(NearestExamplesModel(decider, BOOK), decider, text)
    assert (answer.category, answer.pay_to) == ("cancel_order", named)
