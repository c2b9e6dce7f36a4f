"""What an ask draws on, and what follows when a budget would not cover the next call.

The run then pauses with an inbox task: a person raises the budget, lets the work finish with what
there is, or stops it. Nothing was sent, and nothing is lost meanwhile.
"""

from __future__ import annotations

from typing import Any, cast

from pydantic_ai.durable_exec import ModelRequestParams
from pydantic_core import to_json

from interlock.contract import Contract
from interlock.errors import (
    BudgetExhaustedError,
    DeclarationError,
    InvalidInputError,
    UnknownPriceError,
)
from interlock.limits.amount import amount_text, parse_amount, unit_of
from interlock.limits.budget import (
    Account,
    Budgets,
    Limits,
    WorstCase,
    accounts,
    day_of,
    next_day_us,
)
from interlock.limits.prices import Price, worst_case_micro_usd
from interlock.models.history import files_in
from interlock.models.operations import Operations, PersonAnswer
from interlock.models.registry import Candidate
from interlock.models.rules import budgets_of

__all__ = ["Spending"]

_CHOICES = ("top_up", "finish", "stop")
# What a provider's protocol adds around what is said: roles, separators, names.
_TOKENS_AROUND = 64


class Spending:
    """The budgets of one ask: the run's own, and those of the runs that it was started by."""

    def __init__(self, operations: Operations, contract: Contract) -> None:
        self._operations = operations
        self._contract = contract
        own = (operations.run_id, operations.agent, budgets_of(contract))
        started_by = (
            (run, agent, budgets_of(terms))
            for run, agent, terms in operations.lineage()
            if terms is not None
        )
        self._charged = [charged for charged in (own, *started_by) if _limits_something(charged[2])]

    def accounts(self) -> tuple[Account, ...]:
        """What the next call draws on: day accounts are those of the run's present day.

        Delegated work charges who delegated it: a child draws on its parent's budgets too.
        """
        if not self._charged:
            return ()
        tenant, day = self._operations.tenant, day_of(self._operations.now_us())
        found: dict[str, Account] = {}
        for run, agent, budgets in self._charged:
            for account in accounts(budgets, run=run, agent=agent, tenant=tenant, day=day):
                found.setdefault(account.name, account)
        return tuple(found.values())

    def for_request(self) -> tuple[Account, ...]:
        """The accounts that a request to a model draws on."""
        return tuple(account for account in self.accounts() if account.unit != "tool_calls")

    def for_call(self) -> tuple[Account, ...]:
        """The accounts that a call of a tool draws on."""
        units = ("tool_calls", "seconds")
        return tuple(account for account in self.accounts() if account.unit in units)

    def worst_request(
        self,
        candidate: Candidate,
        price: Price | None,
        params: ModelRequestParams,
        size_bytes: int,
        max_output_tokens: int,
    ) -> WorstCase:
        """The most that a request can take.

        A token covers at least one byte of what is sent in every tokeniser in use, so the length
        in bytes bounds the input; the contract's `tokens_per_byte` may say less. Raises
        `UnknownPriceError` where money is limited and nobody says what the model costs, and
        `DeclarationError` for files where the contract does not say what one counts as.
        """
        terms = self._contract.model
        file_tokens = self._tokens_of_files(params)
        told = params.model_request_parameters
        declared = (told.function_tools, told.output_tools, told.output_object)
        sent_bytes = size_bytes + sum(len(to_json(one)) for one in declared if one)
        input_tokens = int(sent_bytes * terms.tokens_per_byte) + file_tokens + _TOKENS_AROUND
        micro_usd = 0
        if price is not None:
            micro_usd = worst_case_micro_usd(price, input_tokens, max_output_tokens)
        elif any(account.unit == "usd" for account in self.accounts()):
            raise UnknownPriceError(
                f"model {candidate.name!r} has no known price, and a budget in USD cannot hold "
                "what nobody knows. Give its price under `prices` in the contract (USD per million "
                "tokens of input and of output).",
                model=candidate.name,
            )
        return WorstCase(
            micro_usd=micro_usd,
            tokens=input_tokens + max_output_tokens,
            model_calls=1,
            milliseconds=int(terms.timeout_seconds * 1000),
        )

    def _tokens_of_files(self, params: ModelRequestParams) -> int:
        files = sum(files_in(message) for message in params.messages)
        each = self._contract.model.tokens_per_file
        if not files:
            return 0
        if each is None:
            units = {account.unit for account in self.accounts()}
            if not units & {"usd", "tokens"}:
                return 0
            raise DeclarationError(
                f"agent {self._operations.agent!r} sends a file to its model, and a budget cannot "
                "hold what nobody knows: a provider counts a file by its pixels, pages or seconds. "
                "Say in the contract what one counts as at most: model.tokens_per_file."
            )
        return files * each

    async def exhausted(self, account: str, detail: str, needed: int) -> None:
        """Ask a person what to do; returns when the call may be tried again.

        Raises `BudgetExhaustedError` when the work is to finish with what there is. A day's account
        renews at midnight (UTC): then the call is tried again without anybody.
        """
        operations = self._operations
        if account not in {known.name for known in self.accounts()}:
            return  # It was that of another day.
        due_us = None if account.startswith("run/") else next_day_us(operations.now_us())
        question = _question(operations, account, detail)
        answer = await operations.ask_for_budget(
            account,
            needed,
            question,
            to=self._contract.output.escalate_to or "",
            choices=_CHOICES,
            due_us=due_us,
        )
        if answer.expired:
            return
        if answer.choice == "stop":
            operations.stop(f"budget {account} is exhausted")
        if answer.choice != "top_up":
            raise BudgetExhaustedError(
                f"budget {account!r} is exhausted ({detail}), and {answer.by or 'a person'} said "
                f"to {answer.choice or 'finish'}.",
                account=account,
            )
        await self._top_up(account, answer)

    async def _top_up(self, account: str, answer: PersonAnswer) -> None:
        amount = _amount(account, answer.value)
        if amount > 0:
            await self._operations.raise_budget(account, amount, answer.by)


def _limits_something(budgets: Budgets) -> bool:
    scopes = (budgets.run, budgets.agent_day, budgets.tenant_day)
    return any(scope not in (None, Limits()) for scope in scopes)


def _question(operations: Operations, account: str, detail: str) -> dict[str, Any]:
    unit = unit_of(account)
    return {
        "question": f"Run {operations.run_id} of agent {operations.agent!r} needs more than budget "
        f"{account!r} has left ({_in_words(detail, unit)}). Top it up (the value is the amount in "
        f"{unit}), let it finish with what there is, or stop it?",
        "account": account,
        "detail": detail,
    }


def _in_words(detail: str, unit: Any) -> str:
    return " ".join(
        amount_text(int(word), unit) if word.isdigit() else word for word in detail.split()
    )


def _amount(account: str, value: Any) -> int:
    """What a person added; 0 for a raise that was made elsewhere, or for what is no amount."""
    fields = cast("dict[str, Any]", value) if isinstance(value, dict) else {"amount": value}
    given = fields.get("amount")
    try:
        return 0 if given is None else parse_amount(given, unit_of(account), "the amount")
    except InvalidInputError:
        return 0
