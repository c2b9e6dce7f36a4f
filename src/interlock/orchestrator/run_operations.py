"""A run as the block of models may use it (see `models.operations`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any, cast

from interlock.base.codec import canonical, codec_for
from interlock.base.identifier import derived_id
from interlock.contract import Contract
from interlock.limits.budget import Account, Spent, WorstCase
from interlock.models.operations import (
    Attempt,
    Called,
    Conversation,
    Held,
    Outcome,
    PersonAnswer,
    Summary,
)
from interlock.orchestrator.budget_task import BudgetTaskOperation, TopUpOperation
from interlock.orchestrator.budgeting import HoldOperation, SettleOperation
from interlock.orchestrator.calling import call_tool
from interlock.orchestrator.conversations import (
    ExtendConversationOperation,
    ReadConversationOperation,
    conversation_stream,
)
from interlock.orchestrator.operation import Operation
from interlock.orchestrator.requests import RequestOperation
from interlock.orchestrator.retry import NO_RETRY
from interlock.orchestrator.session import Session
from interlock.orchestrator.steps import StepOperation, StepPlan
from interlock.orchestrator.waits import Decision, TaskOperation, TimerOperation
from interlock.tools.masking.vault import RunVault
from interlock.tools.tool import Tool

__all__ = ["RunOperations"]

_US = timedelta(microseconds=1)


class RunOperations:
    """One run's operations. Each method is recorded once and answers the same on a replay."""

    def __init__(self, session: Session) -> None:
        self._session = session

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self._session.run_id

    @property
    def agent(self) -> str:
        """The agent that the run executes."""
        return self._session.agent_name

    @property
    def tenant(self) -> str:
        """The tenant that the run belongs to."""
        return self._session.row.tenant

    @property
    def contract(self) -> Contract | None:
        """The contract that the run began under."""
        return self._session.contract

    def vault(self) -> RunVault | None:
        """The run's values under handles, where its contract asks for them."""
        return self._session.run_vault()

    def lineage(self) -> Sequence[tuple[str, str, Contract | None]]:
        """The runs that started this one, its parent first, each with its contract."""
        services = self._session.services
        store, found = services.journal.store, list[tuple[str, str, Contract | None]]()
        parent = self._session.row.parent
        while parent and (row := store.run(parent)) is not None:
            found.append((row.id, row.agent, services.contracts.of_run(row)))
            parent = row.parent
        return found

    def now_us(self) -> int:
        """The run's time."""
        return self._session.now_us

    def in_code(self) -> bool:
        """Whether the caller is the run's own code."""
        return self._session.in_code()

    def new_id(self) -> str:
        """A text that nothing else of any run is called by; the same on a replay."""
        session = self._session
        session.ids += 1
        return f"{session.run_id}:{session.generation}:{session.ids}"

    def live(self) -> bool:
        """Whether what happens now happens for the first time."""
        return self._session.live

    async def request(self, attempt: Attempt) -> Outcome:
        """Ask a model once."""
        return cast("Outcome", await self._perform(RequestOperation(self._session, attempt)))

    async def call(self, tool: Tool[..., Any], values: dict[str, Any], ask: str) -> Called:
        """Call a tool through the gateway."""
        called = await call_tool(self._session, tool, values, asked_in=ask)
        return Called(*called)

    async def work(self, name: str, arguments: Any, function: Callable[[], Awaitable[Any]]) -> Any:
        """Do something outside and record its JSON result once."""
        plan = StepPlan(
            "step",
            function,
            canonical(arguments, f"step {name!r}"),
            codec_for(Any),
            "",
            NO_RETRY,
            None,
            None,
            True,
        )
        return await self._perform(StepOperation(self._session, name, plan))

    async def hold(self, accounts: tuple[Account, ...], worst: WorstCase) -> Held:
        """Keep the worst case of a tool's call back from the budgets."""
        return cast("Held", await self._perform(HoldOperation(self._session, accounts, worst)))

    async def settle(self, held: Held, spent: Spent) -> None:
        """Take what the call used, and return the rest."""
        await self._perform(SettleOperation(self._session, held.holds, spent))

    async def raise_budget(self, account: str, amount: int, by: str) -> None:
        """Raise a budget's limit by a person's word."""
        store = self._session.services.journal.store
        await self._perform(TopUpOperation(self._session, store, account, amount, by))

    async def ask_person(
        self,
        kind: str,
        question: dict[str, Any],
        *,
        to: str,
        choices: Sequence[str],
        due_us: int | None,
    ) -> PersonAnswer:
        """Open an inbox task and wait for its decision."""
        operation = TaskOperation(
            self._session,
            kind,
            task_kind=kind,
            role=to,
            question=_asked(kind, question, choices),
            due_us=due_us,
        )
        return await self._decided(operation)

    async def ask_for_budget(
        self,
        account: str,
        needed: int,
        question: dict[str, Any],
        *,
        to: str,
        choices: Sequence[str],
        due_us: int | None,
    ) -> PersonAnswer:
        """Open an inbox task and wait for its decision, or until the account covers `needed`."""
        operation = BudgetTaskOperation(
            self._session,
            account=account,
            needed=needed,
            role=to,
            question=_asked("budget", question, choices),
            due_us=due_us,
        )
        return await self._decided(operation)

    async def _decided(self, operation: TaskOperation) -> PersonAnswer:
        session = self._session

        def name_task(key: str) -> None:
            operation.task = derived_id("task", session.run_id, session.generation, key)

        decision = cast("Decision", await session.issue(operation, name_task))
        return PersonAnswer(
            decision.choice, decision.value, decision.note, decision.by, decision.expired
        )

    async def read_conversation(self, name: str) -> Conversation:
        """What was said in a conversation before."""
        store = self._session.services.journal.store
        stream = conversation_stream(self.tenant, name)
        reading = ReadConversationOperation(self._session, store, stream)
        return cast("Conversation", await self._perform(reading))

    async def extend_conversation(
        self, name: str, said: Sequence[bytes], summary: Summary | None
    ) -> None:
        """Add to a conversation."""
        stream = conversation_stream(self.tenant, name)
        await self._perform(ExtendConversationOperation(self._session, stream, said, summary))

    async def sleep(self, duration: timedelta) -> None:
        """Wait, durably."""
        due_us = self._session.now_us + max(0, duration // _US)
        await self._perform(TimerOperation(self._session, "pause", due_us))

    def stop(self, reason: str) -> None:
        """Cancel the run from inside."""
        self._session.stop_run(reason)

    def publish(self, fragment: dict[str, Any]) -> None:
        """Show something to whoever follows the run live."""
        self._session.services.feed.publish(self.run_id, fragment)

    def new_stream(self) -> int:
        """A number for one answer that is shown while it comes in, new in this process."""
        return self._session.services.feed.new_stream()

    def followed(self) -> bool:
        """Whether anybody follows the run live."""
        return self._session.services.feed.followed(self.run_id)

    async def _perform(self, operation: Operation) -> Any:
        return await self._session.issue(operation)


def _asked(kind: str, question: dict[str, Any], choices: Sequence[str]) -> bytes:
    return canonical({**question, "choices": list(choices)}, f"inbox task {kind!r}")
